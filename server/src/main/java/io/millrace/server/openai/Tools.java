package io.millrace.server.openai;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * The functions that a chat request offers to the model, and whether it may or must call them.
 *
 * @param list     as sent, for the chat template; null if the model shall see none
 * @param schemas  by name, the JSON schema of the arguments; in the order of the request
 * @param parallel whether an answer may have several calls
 */
record Tools(List<Map<String, Object>> list, Map<String, JsonNode> schemas, boolean parallel) {
    static final Tools NONE = new Tools(null, Map.of(), true);
    private static final int MAX_TOOLS = 1024;
    private static final Pattern NAME = Pattern.compile("[a-zA-Z0-9_.-]{1,128}");

    /** @throws ApiException 400 naming the tool and the field */
    static Tools parse(Fields fields) {
        JsonNode tools = fields.get("tools");
        if (tools != null && !tools.isArray()) {
            throw fields.wrongType("tools", tools, "an array");
        }
        boolean any = tools != null && !tools.isEmpty();
        Map<String, JsonNode> schemas = new LinkedHashMap<>();
        List<Map<String, Object>> list = new ArrayList<>();
        if (any) {
            parse(tools, schemas, list);
        }
        boolean parallel = fields.flag("parallel_tool_calls", true);
        JsonNode choice = fields.get("tool_choice");
        if (choice == null) {
            return any ? new Tools(list, schemas, parallel) : NONE;
        }
        if (choice.isTextual() && choice.textValue().equals("none")) {
            return NONE;
        }
        if (!any) {
            throw ApiException.badRequest("tool_choice", "`tool_choice` is given without `tools`.");
        }
        String wanted = choice.isTextual() ? choice.textValue() : namedFunction(choice, schemas);
        switch (wanted) {
            case "auto" -> {
                return new Tools(list, schemas, parallel);
            }
            case "required", "function" -> throw ApiException.unsupported("tool_choice", "`tool_choice` other than \"auto\" and \"none\" is not"
                    + " supported by this version: the model decides whether it calls a tool.");
            default -> throw ApiException.badRequest("tool_choice", "`tool_choice` is \"" + Fields.clip(wanted)
                    + "\"; it must be none, auto, required or {\"type\": \"function\", \"function\": {\"name\": ...}}.");
        }
    }

    private static void parse(JsonNode tools, Map<String, JsonNode> schemas, List<Map<String, Object>> list) {
        if (tools.size() > MAX_TOOLS) {
            throw ApiException.badRequest("tools", "`tools` has " + tools.size() + " entries; at most " + MAX_TOOLS + " are allowed.");
        }
        for (int i = 0; i < tools.size(); i++) {
            Fields tool = Fields.of(tools.get(i), "tools[" + i + "]");
            String type = tool.string("type").orElse("function");
            if (!type.equals("function")) {
                throw ApiException.unsupported(tool.path("type"), "`" + tool.path("type") + "` is " + Fields.clip(type)
                        + "; this server takes tools of type function only.");
            }
            Fields function = Fields.of(required(tool, "function"), tool.path("function"));
            String name = function.string("name").orElseThrow(() -> missing(function, "name"));
            if (!NAME.matcher(name).matches()) {
                throw ApiException.badRequest(function.path("name"), "`" + function.path("name") + "` is \"" + Fields.clip(name)
                        + "\"; it must be 1 to 128 letters, digits, dots, dashes and underscores.");
            }
            function.string("description");
            JsonNode schema = function.get("parameters");
            if (schema != null && !schema.isObject()) {
                throw function.wrongType("parameters", schema, "a JSON schema, an object");
            }
            if (schemas.put(name, schema == null ? JsonNodeFactory.instance.objectNode() : schema) != null) {
                throw ApiException.badRequest(function.path("name"), "`" + function.path("name") + "`: two tools have the name " + name + ".");
            }
            list.add(tool.plainMap());
        }
    }

    private static String namedFunction(JsonNode choice, Map<String, JsonNode> schemas) {
        Fields fields = Fields.of(choice, "tool_choice");
        Fields function = Fields.of(required(fields, "function"), "tool_choice.function");
        String name = function.string("name").orElseThrow(() -> missing(function, "name"));
        if (!schemas.containsKey(name)) {
            throw ApiException.badRequest("tool_choice.function.name", "`tool_choice.function.name` is \"" + Fields.clip(name)
                    + "\", but `tools` has " + String.join(", ", schemas.keySet()) + ".");
        }
        return "function";
    }

    private static JsonNode required(Fields fields, String name) {
        JsonNode value = fields.get(name);
        if (value == null) {
            throw missing(fields, name);
        }
        return value;
    }

    private static ApiException missing(Fields fields, String name) {
        return ApiException.badRequest("missing_parameter", fields.path(name), "`" + fields.path(name) + "` is missing.");
    }
}
