package io.millrace.engine.text;

import java.util.List;
import java.util.Map;

/** A model's chat template, rendered as HF transformers does. Thread-safe. Its source is untrusted: rendering is bounded in steps, output and depth. */
public interface ChatTemplate {
    /**
     * @param messages            each a map with at least {@code role} and {@code content}, values as parsed from JSON
     * @param tools               or null
     * @param addGenerationPrompt whether the assistant's turn is opened
     * @param extra               further variables ({@code chat_template_kwargs}), may be empty
     * @throws ChatTemplateException if the template refuses the messages (its own {@code raise_exception} text is the message), is broken or exceeds a bound
     */
    String render(List<Map<String, Object>> messages, List<Map<String, Object>> tools, boolean addGenerationPrompt, Map<String, Object> extra);

    /** Its text, which shows how the model writes tool calls and thoughts; empty if that is not known. */
    default String source() {
        return "";
    }
}
