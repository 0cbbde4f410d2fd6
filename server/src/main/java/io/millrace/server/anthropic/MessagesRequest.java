package io.millrace.server.anthropic;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.millrace.server.openai.ApiException;
import io.millrace.server.openai.Fields;
import java.util.List;

/**
 * A request of the Messages protocol, rewritten as the chat request that means the same. Fields that would change the answer and that a chat
 * request cannot have are refused by name; others that are not known here are passed over, as in chat requests.
 */
public final class MessagesRequest {
    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;
    private static final List<String> SAME = List.of("model", "max_tokens", "temperature", "top_p", "top_k", "stream",
            "structured_outputs", "response_format");

    private static final List<String> REFUSED = List.of("mcp_servers", "container");

    private MessagesRequest() {}

    /**
     * @param needsLimit whether {@code max_tokens} must be there, as the protocol says of everything but counting
     * @throws ApiException 400 naming the field
     */
    public static Fields toChat(Fields request, boolean needsLimit) {
        for (String name : REFUSED) {
            if (request.has(name) && !request.get(name).isEmpty()) {
                throw ApiException.unsupported(name, "`" + name + "` is not supported by this version; leave it out.");
            }
        }
        ObjectNode chat = NODES.objectNode();
        for (String name : SAME) {
            if (request.has(name)) {
                chat.set(name, request.get(name));
            }
        }
        if (request.has("output_format")) {
            outputFormat(Fields.of(request.get("output_format"), "output_format"), chat);
        } else if (request.has("output_config")) {
            Fields config = Fields.of(request.get("output_config"), "output_config");
            if (config.has("format")) {
                outputFormat(Fields.of(config.get("format"), "output_config.format"), chat);
            }
        }
        if (needsLimit && !request.has("max_tokens")) {
            throw request.missing("max_tokens");
        }
        if (request.has("stop_sequences")) {
            chat.set("stop", stops(request));
        }
        ArrayNode messages = chat.putArray("messages");
        if (request.has("system")) {
            messages.addObject().put("role", "system").put("content", text(request, "system"));
        }
        JsonNode list = request.get("messages");
        if (list == null) {
            throw request.missing("messages");
        }
        if (!list.isArray()) {
            throw request.wrongType("messages", list, "an array of messages");
        }
        for (int i = 0; i < list.size(); i++) {
            message(Fields.of(list.get(i), "messages[" + i + "]"), messages);
        }
        JsonNode last = messages.isEmpty() ? null : messages.get(messages.size() - 1);
        if (last != null && last.path("role").asText().equals("assistant") && !last.has("tool_calls")) {
            chat.put("continue_final_message", true); // the answer begins so
        }
        if (request.has("tools")) {
            chat.set("tools", tools(request));
        }
        if (request.has("tool_choice")) {
            toolChoice(Fields.of(request.get("tool_choice"), "tool_choice"), chat);
        }
        if (request.has("thinking")) {
            String type = Fields.of(request.get("thinking"), "thinking").string("type").orElse("enabled");
            chat.putObject("chat_template_kwargs").put("enable_thinking", !type.equals("disabled"));
        }
        return Fields.of(chat);
    }

    private static void outputFormat(Fields format, ObjectNode chat) {
        String type = format.string("type").orElseThrow(() -> format.missing("type"));
        if (!type.equals("json_schema")) {
            throw ApiException.badRequest(format.path("type"), "`" + format.path("type") + "` is \"" + Fields.clip(type) + "\"; it must be json_schema.");
        }
        if (!format.has("schema")) {
            throw format.missing("schema");
        }
        chat.putObject("response_format").put("type", type).putObject("json_schema").put("name", "output").set("schema", format.get("schema"));
    }

    private static JsonNode stops(Fields request) {
        JsonNode stops = request.get("stop_sequences");
        if (!stops.isArray()) {
            throw request.wrongType("stop_sequences", stops, "an array of strings");
        }
        return stops;
    }

    private static void message(Fields message, ArrayNode out) {
        String role = message.string("role").orElseThrow(() -> message.missing("role"));
        if (!role.equals("user") && !role.equals("assistant")) {
            throw ApiException.badRequest(message.path("role"), "`" + message.path("role") + "` is \"" + Fields.clip(role)
                    + "\"; it must be user or assistant.");
        }
        JsonNode content = message.get("content");
        if (content == null) {
            throw message.missing("content");
        }
        if (content.isTextual()) {
            out.addObject().put("role", role).set("content", content);
        } else if (!content.isArray()) {
            throw message.wrongType("content", content, "a string or an array of content blocks");
        } else if (role.equals("user")) {
            user(message, content, out);
        } else {
            assistant(message, content, out);
        }
    }

    /** Results of calls become messages of their own, before what the user says. */
    private static void user(Fields message, JsonNode blocks, ArrayNode out) {
        StringBuilder text = new StringBuilder();
        boolean anyText = false;
        for (int i = 0; i < blocks.size(); i++) {
            Fields block = Fields.of(blocks.get(i), message.path("content[" + i + "]"));
            switch (type(block)) {
                case "text" -> {
                    text.append(anyText ? "\n" : "").append(block.string("text").orElseThrow(() -> block.missing("text")));
                    anyText = true;
                }
                case "tool_result" -> out.addObject().put("role", "tool")
                        .put("tool_call_id", block.string("tool_use_id").orElseThrow(() -> block.missing("tool_use_id")))
                        .put("content", block.has("content") ? text(block, "content") : "");
                default -> throw unsupported(block);
            }
        }
        if (anyText || blocks.isEmpty()) {
            out.addObject().put("role", "user").put("content", text.toString());
        }
    }

    private static void assistant(Fields message, JsonNode blocks, ArrayNode out) {
        StringBuilder text = new StringBuilder();
        StringBuilder thinking = new StringBuilder();
        ArrayNode calls = NODES.arrayNode();
        for (int i = 0; i < blocks.size(); i++) {
            Fields block = Fields.of(blocks.get(i), message.path("content[" + i + "]"));
            switch (type(block)) {
                case "text" -> text.append(text.isEmpty() ? "" : "\n").append(block.string("text").orElseThrow(() -> block.missing("text")));
                case "thinking" -> thinking.append(block.string("thinking").orElse(""));
                case "redacted_thinking" -> { } // nobody here can read it
                case "tool_use" -> {
                    ObjectNode call = calls.addObject();
                    call.put("id", block.string("id").orElseThrow(() -> block.missing("id"))).put("type", "function");
                    call.putObject("function").put("name", block.string("name").orElseThrow(() -> block.missing("name")))
                            .put("arguments", block.has("input") ? block.get("input").toString() : "{}");
                }
                default -> throw unsupported(block);
            }
        }
        ObjectNode result = out.addObject().put("role", "assistant");
        if (text.isEmpty() && !calls.isEmpty()) {
            result.putNull("content");
        } else {
            result.put("content", text.toString());
        }
        if (!thinking.isEmpty()) {
            result.put("reasoning_content", thinking.toString());
        }
        if (!calls.isEmpty()) {
            result.set("tool_calls", calls);
        }
    }

    /** A string, or blocks of type text joined by line breaks. */
    private static String text(Fields fields, String name) {
        JsonNode value = fields.get(name);
        if (value.isTextual()) {
            return value.textValue();
        }
        if (!value.isArray()) {
            throw fields.wrongType(name, value, "a string or an array of text blocks");
        }
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < value.size(); i++) {
            Fields block = Fields.of(value.get(i), fields.path(name + "[" + i + "]"));
            if (!type(block).equals("text")) {
                throw unsupported(block);
            }
            text.append(i == 0 ? "" : "\n").append(block.string("text").orElseThrow(() -> block.missing("text")));
        }
        return text.toString();
    }

    private static JsonNode tools(Fields request) {
        JsonNode list = request.get("tools");
        if (!list.isArray()) {
            throw request.wrongType("tools", list, "an array of tools");
        }
        ArrayNode tools = NODES.arrayNode();
        for (int i = 0; i < list.size(); i++) {
            Fields tool = Fields.of(list.get(i), "tools[" + i + "]");
            String type = tool.string("type").orElse("custom");
            if (!type.equals("custom")) {
                throw ApiException.unsupported(tool.path("type"), "`" + tool.path("type") + "` is " + Fields.clip(type)
                        + "; this server runs no tools of its own: define yours with name and input_schema.");
            }
            ObjectNode function = tools.addObject().put("type", "function").putObject("function");
            function.put("name", tool.string("name").orElseThrow(() -> tool.missing("name")));
            tool.string("description").ifPresent(text -> function.put("description", text));
            if (tool.has("input_schema")) {
                function.set("parameters", tool.get("input_schema"));
            }
        }
        return tools;
    }

    private static void toolChoice(Fields choice, ObjectNode chat) {
        switch (choice.string("type").orElseThrow(() -> choice.missing("type"))) {
            case "auto" -> chat.put("tool_choice", "auto");
            case "none" -> chat.put("tool_choice", "none");
            case "any" -> chat.put("tool_choice", "required");
            case "tool" -> chat.putObject("tool_choice").put("type", "function").putObject("function")
                    .put("name", choice.string("name").orElseThrow(() -> choice.missing("name")));
            default -> throw ApiException.badRequest("tool_choice.type", "`tool_choice.type` must be auto, any, tool or none.");
        }
        if (choice.flag("disable_parallel_tool_use", false)) {
            chat.put("parallel_tool_calls", false);
        }
    }

    private static String type(Fields block) {
        return block.string("type").orElseThrow(() -> block.missing("type"));
    }

    private static ApiException unsupported(Fields block) {
        return ApiException.unsupported(block.path("type"), "`" + block.path("type") + "` is " + Fields.clip(type(block))
                + ", which this server does not take there.");
    }
}
