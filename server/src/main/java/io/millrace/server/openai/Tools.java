package io.millrace.server.openai;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
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
 * @param forced   those of which the answer must call one; empty = the model decides
 */
record Tools(List<Map<String, Object>> list, Map<String, JsonNode> schemas, boolean parallel, Map<String, JsonNode> forced) {
    static final Tools NONE = new Tools(null, Map.of(), true, Map.of());
    private static final int MAX_TOOLS = 1024;
    private static final int MAX_FORCED_CALLS = 16;
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
            return any ? new Tools(list, schemas, parallel, Map.of()) : NONE;
        }
        if (choice.isTextual() && choice.textValue().equals("none")) {
            return NONE;
        }
        if (!any) {
            throw ApiException.badRequest("tool_choice", "`tool_choice` is given without `tools`.");
        }
        // A model that must call something is not made to call several things unless that was asked for.
        boolean several = fields.has("parallel_tool_calls") && parallel;
        if (!choice.isTextual()) {
            String name = namedFunction(choice, schemas);
            return new Tools(list, schemas, several, Map.of(name, schemas.get(name)));
        }
        return switch (choice.textValue()) {
            case "auto" -> new Tools(list, schemas, parallel, Map.of());
            case "required" -> new Tools(list, schemas, several, schemas);
            default -> throw ApiException.badRequest("tool_choice", "`tool_choice` is \"" + Fields.clip(choice.textValue())
                    + "\"; it must be none, auto, required or {\"type\": \"function\", \"function\": {\"name\": ...}}.");
        };
    }

    /**
     * The JSON schema of an answer that calls one of the {@link #forced} tools, or several: {@code {"name": ..., "arguments": ...}}. References
     * within a tool's schema go on meaning that schema.
     */
    String callSchema() {
        JsonNodeFactory nodes = JsonNodeFactory.instance;
        ObjectNode call = nodes.objectNode();
        ArrayNode calls = call.putArray("anyOf");
        forced.forEach((name, schema) -> {
            ObjectNode properties = calls.addObject().put("type", "object").put("additionalProperties", false).putObject("properties");
            properties.putObject("name").put("const", name);
            properties.set("arguments", resource(name, schema));
            ((ObjectNode) calls.get(calls.size() - 1)).putArray("required").add("name").add("arguments");
        });
        if (!parallel) {
            return call.toString();
        }
        ObjectNode list = nodes.objectNode().put("type", "array").put("minItems", 1).put("maxItems", MAX_FORCED_CALLS);
        list.set("items", call);
        return list.toString();
    }

    private static JsonNode resource(String name, JsonNode schema) {
        ObjectNode resource = schema.deepCopy();
        if (resource.has("$ref")) {
            // Beside a reference an id counts for nothing in draft 7.
            resource.putArray("allOf").addObject().set("$ref", resource.remove("$ref"));
        }
        if (!resource.has("$id")) {
            resource.put("$id", "tool:/" + name);
        }
        if (schema.isEmpty()) {
            resource.put("additionalProperties", false); // a function without parameters takes none
        }
        if (!resource.has("type") && !resource.has("allOf") && !resource.has("anyOf") && !resource.has("oneOf")) {
            resource.put("type", "object");
        }
        return resource;
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
            Fields function = Fields.of(tool.required("function"), tool.path("function"));
            String name = function.string("name").orElseThrow(() -> function.missing("name"));
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
        Fields function = Fields.of(fields.required("function"), "tool_choice.function");
        String name = function.string("name").orElseThrow(() -> function.missing("name"));
        if (!schemas.containsKey(name)) {
            throw ApiException.badRequest("tool_choice.function.name", "`tool_choice.function.name` is \"" + Fields.clip(name)
                    + "\", but `tools` has " + String.join(", ", schemas.keySet()) + ".");
        }
        return name;
    }
}
