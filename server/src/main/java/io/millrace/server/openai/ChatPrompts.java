package io.millrace.server.openai;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.engine.text.ChatTemplate;
import io.millrace.engine.text.ChatTemplateException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Messages to prompts: checks them, brings them into the form that chat templates are written for, renders and tokenizes. */
final class ChatPrompts {
    /** Templates drop a message of any other role, or write it as if it were one of these. */
    private static final List<String> ROLES = List.of("system", "developer", "user", "assistant", "tool", "function");

    private final PromptEncoder encoder;
    private final Optional<ChatTemplate> template;
    private final int vocabSize;

    ChatPrompts(PromptEncoder encoder, Optional<ChatTemplate> template, int vocabSize) {
        this.encoder = encoder;
        this.template = template;
        this.vocabSize = vocabSize;
    }

    /** @param tools those that the model shall see */
    Prompt parse(Fields fields, Tools tools) {
        List<Map<String, Object>> messages = messages(fields);
        ChatTemplate chatTemplate = template.orElseThrow(() -> ApiException.badRequest("chat_template_missing", "messages",
                "This model has no chat template: use /v1/completions, or add a chat_template.jinja to the model's folder."));
        boolean continueFinal = fields.flag("continue_final_message", false);
        boolean openTurn = fields.flag("add_generation_prompt", !continueFinal);
        if (continueFinal && openTurn) {
            throw ApiException.badRequest("continue_final_message",
                    "`continue_final_message` and `add_generation_prompt` cannot both be true.");
        }
        String text;
        try {
            text = TemplateFit.render(chatTemplate, messages, tools, openTurn, variables(fields));
        } catch (ChatTemplateException e) {
            throw ApiException.badRequest("chat_template_error", "messages", "The model's chat template refused the messages: "
                    + e.getMessage());
        }
        if (continueFinal) {
            text = openFinalMessage(text, messages.getLast());
        }
        int[] ids = encoder.encode(text, fields.flag("add_special_tokens", false), "messages");
        if (ids.length == 0) {
            throw ApiException.badRequest("messages", "The messages render to an empty prompt with this model's chat template.");
        }
        Prompt.requireInVocabulary("messages", ids, vocabSize);
        return new Prompt(ids, text);
    }

    private static Map<String, Object> variables(Fields fields) {
        Map<String, Object> variables = new HashMap<>();
        fields.string("reasoning_effort").ifPresent(effort -> variables.put("reasoning_effort", effort));
        if (fields.has("chat_template_kwargs")) {
            variables.putAll(Fields.of(fields.get("chat_template_kwargs"), "chat_template_kwargs").plainMap());
        }
        return variables;
    }

    /** Cuts what the template wrote after the last message's content, so that generation goes on within that message. */
    private static String openFinalMessage(String rendered, Map<String, Object> last) {
        String content = last.get("content") instanceof String text ? text.strip() : "";
        int at = content.isEmpty() ? -1 : rendered.lastIndexOf(content);
        if (at < 0) {
            throw ApiException.badRequest("continue_final_message",
                    "The last message has no content that the chat template wrote out, so it cannot be continued.");
        }
        return rendered.substring(0, at + content.length());
    }

    private static List<Map<String, Object>> messages(Fields fields) {
        JsonNode list = fields.get("messages");
        if (list == null) {
            throw ApiException.badRequest("missing_parameter", "messages", "`messages` is missing.");
        }
        if (!list.isArray()) {
            throw fields.wrongType("messages", list, "an array of messages");
        }
        if (list.isEmpty()) {
            throw ApiException.badRequest("messages", "`messages` is empty; at least one message is needed.");
        }
        List<Map<String, Object>> messages = new ArrayList<>(list.size());
        for (int i = 0; i < list.size(); i++) {
            messages.add(message(Fields.of(list.get(i), "messages[" + i + "]")));
        }
        return messages;
    }

    private static Map<String, Object> message(Fields message) {
        Map<String, Object> result = message.plainMap();
        String role = message.string("role").filter(name -> !name.isEmpty())
                .orElseThrow(() -> ApiException.badRequest("missing_parameter", message.path("role"),
                        "`" + message.path("role") + "` is missing."));
        if (!ROLES.contains(role)) {
            throw ApiException.badRequest(message.path("role"), "`" + message.path("role") + "` is \"" + Fields.clip(role) + "\"; it must be one of "
                    + String.join(", ", ROLES) + ".");
        }
        // The official API's newer name; no template in use treats it otherwise, most would drop the message.
        result.put("role", role.equals("developer") ? "system" : role);
        boolean calls = message.has("tool_calls");
        String content = content(message);
        if (content == null && !calls && !role.equals("assistant")) {
            throw ApiException.badRequest("missing_parameter", message.path("content"), "`" + message.path("content") + "` is missing.");
        }
        result.put("content", content == null && !calls ? "" : content);
        if (calls) {
            parseArguments(message, result);
        } else {
            result.remove("tool_calls");
        }
        return result;
    }

    /** Text parts are joined by line breaks; null if there is no content. */
    private static String content(Fields message) {
        JsonNode content = message.get("content");
        if (content == null || content.isTextual()) {
            return content == null ? null : content.textValue();
        }
        if (!content.isArray()) {
            throw message.wrongType("content", content, "a string or an array of content parts");
        }
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < content.size(); i++) {
            Fields part = Fields.of(content.get(i), message.path("content[" + i + "]"));
            String type = part.string("type").orElse("missing");
            if (!type.equals("text") && !type.equals("refusal")) {
                throw ApiException.unsupported(part.path("type"), "`" + part.path("type") + "` is " + Fields.clip(type)
                        + "; this server takes parts of type text only.");
            }
            text.append(i == 0 ? "" : "\n").append(part.string(type).orElseThrow(() -> ApiException.badRequest("missing_parameter",
                    part.path(type), "`" + part.path(type) + "` is missing.")));
        }
        return text.toString();
    }

    /** Templates iterate over a call's arguments as a mapping; the protocol carries them as a string. */
    private static void parseArguments(Fields message, Map<String, Object> result) {
        if (!(result.get("tool_calls") instanceof List<?> calls)) {
            throw message.wrongType("tool_calls", message.get("tool_calls"), "an array");
        }
        for (Object call : calls) {
            if (call instanceof Map<?, ?> map && map.get("function") instanceof Map<?, ?> function
                    && function.get("arguments") instanceof String arguments) {
                @SuppressWarnings("unchecked")
                Map<String, Object> writable = (Map<String, Object>) function;
                Fields.parseMap(arguments.isBlank() ? "{}" : arguments).ifPresent(parsed -> writable.put("arguments", parsed));
            }
        }
    }
}
