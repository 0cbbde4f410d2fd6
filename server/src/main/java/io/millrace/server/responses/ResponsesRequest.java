package io.millrace.server.responses;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.millrace.server.openai.ApiException;
import io.millrace.server.openai.Fields;
import java.util.List;

/**
 * A request of the Responses protocol, rewritten as the chat request that means the same. Fields that would change the answer and that a chat
 * request cannot have are refused by name; others that are not known here are passed over, as in chat requests.
 */
public final class ResponsesRequest {
    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;
    private static final List<String> SAME = List.of("model", "temperature", "top_p", "stream", "parallel_tool_calls", "user", "seed", "top_k", "min_p",
            "stop", "chat_template_kwargs", "structured_outputs", "response_format", "cache_salt", "priority", "timeout");
    private static final List<String> STATE = List.of("previous_response_id", "conversation", "prompt");

    private ResponsesRequest() {}

    /** @throws ApiException 400 naming the field */
    public static Fields toChat(Fields request) {
        for (String name : STATE) {
            if (request.has(name)) {
                throw ApiException.unsupported(name, "`" + name + "` is not supported: this server keeps no answers; send the whole conversation as `input`.");
            }
        }
        if (request.flag("background", false)) {
            throw ApiException.unsupported("background", "`background` is not supported: this server keeps no answers; leave it out.");
        }
        if (request.integer("top_logprobs", 0, 20).orElse(0) > 0) {
            throw ApiException.unsupported("top_logprobs", "`top_logprobs` is not supported here; /v1/chat/completions gives log-probabilities.");
        }
        ObjectNode chat = NODES.objectNode();
        for (String name : SAME) {
            if (request.has(name)) {
                chat.set(name, request.get(name));
            }
        }
        request.integer("max_output_tokens", 1, Integer.MAX_VALUE).ifPresent(limit -> chat.put("max_completion_tokens", limit));
        ArrayNode messages = chat.putArray("messages");
        request.string("instructions").ifPresent(text -> messages.addObject().put("role", "system").put("content", text));
        JsonNode input = request.get("input");
        if (input == null) {
            throw request.missing("input");
        }
        if (input.isTextual()) {
            messages.addObject().put("role", "user").set("content", input);
        } else if (input.isArray()) {
            for (int i = 0; i < input.size(); i++) {
                item(Fields.of(input.get(i), "input[" + i + "]"), messages);
            }
        } else {
            throw request.wrongType("input", input, "a string or an array of items");
        }
        if (request.has("tools")) {
            chat.set("tools", tools(request));
        }
        if (request.has("tool_choice")) {
            chat.set("tool_choice", toolChoice(request));
        }
        if (request.has("reasoning")) {
            Fields.of(request.get("reasoning"), "reasoning").string("effort").ifPresent(effort -> chat.put("reasoning_effort", effort));
        }
        if (request.has("text")) {
            format(Fields.of(request.get("text"), "text"), chat);
        }
        return Fields.of(chat);
    }

    private static void item(Fields item, ArrayNode messages) {
        switch (item.string("type").orElse("message")) {
            case "message" -> {
                String role = item.string("role").orElseThrow(() -> item.missing("role"));
                messages.addObject().put("role", role).put("content", text(item, "content"));
            }
            case "function_call" -> {
                ObjectNode call = NODES.objectNode();
                call.put("id", item.string("call_id").orElseThrow(() -> item.missing("call_id"))).put("type", "function");
                call.putObject("function").put("name", item.string("name").orElseThrow(() -> item.missing("name")))
                        .put("arguments", item.string("arguments").orElse("{}"));
                calls(messages).add(call);
            }
            case "function_call_output" -> messages.addObject().put("role", "tool")
                    .put("tool_call_id", item.string("call_id").orElseThrow(() -> item.missing("call_id"))).put("content", text(item, "output"));
            case "reasoning" -> { } // templates drop the thoughts of earlier turns
            default -> throw ApiException.unsupported(item.path("type"), "`" + item.path("type") + "` is "
                    + Fields.clip(item.string("type").orElse("")) + "; this server takes message, function_call, function_call_output and reasoning.");
        }
    }

    /** Where the next call goes: several in a row, and the text before them, are one message. */
    private static ArrayNode calls(ArrayNode messages) {
        if (messages.isEmpty() || !messages.get(messages.size() - 1).path("role").asText().equals("assistant")) {
            messages.addObject().put("role", "assistant").putNull("content");
        }
        ObjectNode last = (ObjectNode) messages.get(messages.size() - 1);
        return last.path("tool_calls") instanceof ArrayNode list ? list : last.putArray("tool_calls");
    }

    /** A string, or parts of text joined by line breaks. */
    private static String text(Fields item, String name) {
        JsonNode value = item.get(name);
        if (value == null) {
            throw item.missing(name);
        }
        if (value.isTextual()) {
            return value.textValue();
        }
        if (!value.isArray()) {
            throw item.wrongType(name, value, "a string or an array of text parts");
        }
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < value.size(); i++) {
            Fields part = Fields.of(value.get(i), item.path(name + "[" + i + "]"));
            String type = part.string("type").orElse("missing");
            String field = switch (type) {
                case "input_text", "output_text", "text" -> "text";
                case "refusal" -> "refusal";
                default -> throw ApiException.unsupported(part.path("type"), "`" + part.path("type") + "` is " + Fields.clip(type)
                        + "; this server takes parts of text only.");
            };
            text.append(i == 0 ? "" : "\n").append(part.string(field).orElseThrow(() -> part.missing(field)));
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
            String type = tool.string("type").orElseThrow(() -> tool.missing("type"));
            if (!type.equals("function")) {
                throw ApiException.unsupported(tool.path("type"), "`" + tool.path("type") + "` is " + Fields.clip(type)
                        + "; this server runs no tools of its own: use type function.");
            }
            ObjectNode function = tools.addObject().put("type", "function").putObject("function");
            for (String name : List.of("name", "description", "parameters", "strict")) {
                if (tool.has(name)) {
                    function.set(name, tool.get(name));
                }
            }
        }
        return tools;
    }

    private static JsonNode toolChoice(Fields request) {
        JsonNode choice = request.get("tool_choice");
        if (!choice.isObject()) {
            return choice;
        }
        Fields fields = Fields.of(choice, "tool_choice");
        String type = fields.string("type").orElseThrow(() -> fields.missing("type"));
        if (!type.equals("function")) {
            throw ApiException.unsupported("tool_choice.type", "`tool_choice.type` is " + Fields.clip(type) + "; this server takes function.");
        }
        ObjectNode named = NODES.objectNode().put("type", "function");
        named.putObject("function").put("name", fields.string("name").orElseThrow(() -> fields.missing("name")));
        return named;
    }

    /** {@code text.format} has what {@code response_format} has, one level less deep. */
    private static void format(Fields text, ObjectNode chat) {
        if (!text.has("format")) {
            return;
        }
        Fields format = Fields.of(text.get("format"), "text.format");
        String type = format.string("type").orElseThrow(() -> format.missing("type"));
        ObjectNode response = chat.putObject("response_format").put("type", type);
        if (type.equals("json_schema")) {
            ObjectNode schema = format.tree().deepCopy();
            schema.remove("type");
            response.set("json_schema", schema);
        }
    }
}
