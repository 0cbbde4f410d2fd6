package io.millrace.server.openai;

import io.millrace.engine.text.ChatTemplate;
import io.millrace.engine.text.ChatTemplateException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/**
 * Renders messages with what a template can do. Most templates take a call's arguments as a mapping and no content as none; some (DeepSeek's)
 * join arguments to a text, simple ones join any content, and those of models that know no tools have no role for results. Each form is tried
 * in that order, and what the template says to the first is what the client hears if none will do.
 */
final class TemplateFit {
    private static final List<Predicate<List<Map<String, Object>>>> SIMPLER = List.of(TemplateFit::writeContents, TemplateFit::writeArguments,
            TemplateFit::writeCalls);

    private TemplateFit() {}

    /** @param messages may be changed */
    static String render(ChatTemplate template, List<Map<String, Object>> messages, Tools tools, boolean openTurn, Map<String, Object> variables) {
        List<Map<String, Object>> shown = withTools(tools, messages, template);
        ChatTemplateException first;
        try {
            return template.render(shown, tools.list(), openTurn, variables);
        } catch (ChatTemplateException e) {
            first = e;
        }
        for (Predicate<List<Map<String, Object>>> simpler : SIMPLER) {
            if (!simpler.test(shown)) {
                continue;
            }
            try {
                return template.render(shown, tools.list(), openTurn, variables);
            } catch (ChatTemplateException e) {
                // the next form may do
            }
        }
        throw first;
    }

    /** Some templates (Phi-4 mini's) look for the tools in the system message, as JSON. */
    private static List<Map<String, Object>> withTools(Tools tools, List<Map<String, Object>> messages, ChatTemplate template) {
        List<Map<String, Object>> shown = new ArrayList<>(messages);
        if (tools.list() != null && template.source().contains("message['tools']")) {
            if (!"system".equals(shown.getFirst().get("role"))) {
                shown.addFirst(new HashMap<>(Map.of("role", "system", "content", "")));
            }
            shown.getFirst().put("tools", Fields.toJson(tools.list().stream().map(tool -> tool.get("function")).toList()));
        }
        return shown;
    }

    /** Puts an empty text in the place of no content; false if there is none such. */
    private static boolean writeContents(List<Map<String, Object>> messages) {
        boolean any = false;
        for (Map<String, Object> message : messages) {
            if (message.get("content") == null) {
                message.put("content", "");
                any = true;
            }
        }
        return any;
    }

    /** Puts the text of arguments in the place of what was parsed from it; false if there is none. */
    private static boolean writeArguments(List<Map<String, Object>> messages) {
        boolean any = false;
        for (Map<String, Object> message : messages) {
            for (Map<String, Object> function : functions(message)) {
                if (function.get("arguments") instanceof Map<?, ?> parsed) {
                    function.put("arguments", Fields.toJson(parsed));
                    any = true;
                }
            }
        }
        return any;
    }

    /** Writes calls into the assistant's text and results into the user's, as JSON; false if there are none. */
    private static boolean writeCalls(List<Map<String, Object>> messages) {
        Map<Object, Object> names = new HashMap<>();
        boolean any = false;
        for (Map<String, Object> message : messages) {
            StringBuilder text = new StringBuilder(message.get("content") instanceof String content ? content : "");
            for (Object call : message.get("tool_calls") instanceof List<?> calls ? calls : List.of()) {
                if (call instanceof Map<?, ?> map && map.get("function") instanceof Map<?, ?> function) {
                    names.put(map.get("id"), function.get("name"));
                    text.append(text.isEmpty() ? "" : "\n").append("{\"name\": ").append(Fields.toJson(function.get("name"))).append(", \"arguments\": ")
                            .append(function.get("arguments") instanceof String arguments ? arguments : Fields.toJson(function.get("arguments"))).append('}');
                }
            }
            if (message.remove("tool_calls") != null) {
                message.put("content", text.toString());
                any = true;
            }
            if ("tool".equals(message.get("role"))) {
                Map<String, Object> result = new LinkedHashMap<>();
                result.put("name", names.getOrDefault(message.get("tool_call_id"), "tool"));
                result.put("result", message.get("content"));
                message.put("role", "user");
                message.put("content", Fields.toJson(result));
                any = true;
            }
        }
        return any;
    }

    private static List<Map<String, Object>> functions(Map<String, Object> message) {
        List<Map<String, Object>> functions = new ArrayList<>();
        for (Object call : message.get("tool_calls") instanceof List<?> calls ? calls : List.of()) {
            if (call instanceof Map<?, ?> map && map.get("function") instanceof Map<?, ?> function) {
                @SuppressWarnings("unchecked")
                Map<String, Object> writable = (Map<String, Object>) function;
                functions.add(writable);
            }
        }
        return functions;
    }
}
