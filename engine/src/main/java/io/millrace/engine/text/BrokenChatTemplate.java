package io.millrace.engine.text;

import java.util.List;
import java.util.Map;

/**
 * A template that does not compile: the model still serves completions, and each chat request is told why it cannot be answered.
 *
 * @param reason what is wrong where, and what to do about it
 */
public record BrokenChatTemplate(String reason) implements ChatTemplate {
    @Override
    public String render(List<Map<String, Object>> messages, List<Map<String, Object>> tools, boolean addGenerationPrompt, Map<String, Object> extra) {
        throw new ChatTemplateException("TPL-002: " + reason);
    }
}
