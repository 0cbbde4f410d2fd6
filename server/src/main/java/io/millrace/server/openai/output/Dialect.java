package io.millrace.server.openai.output;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Map;
import java.util.Optional;

/**
 * How a model writes what is not content.
 *
 * @param tools     how it writes calls
 * @param reasoning how it marks thoughts; empty if it is not known to think aloud
 */
public record Dialect(ToolFormat tools, Optional<ReasoningFormat> reasoning) {
    /**
     * @param templateSource    of the model's chat template, from which follows what a parameter does not say
     * @param toolCallParser    {@code auto} or a {@link ToolFormat#flag}
     * @param reasoningParser   {@code auto}, {@code none} or a {@link ReasoningFormat#flag}
     */
    public static Dialect of(String templateSource, String toolCallParser, String reasoningParser) {
        return new Dialect(ToolFormat.ofFlag(toolCallParser).orElseGet(() -> ToolFormat.ofTemplate(templateSource)), switch (reasoningParser) {
            case "none" -> Optional.empty();
            case "auto" -> ReasoningFormat.ofTemplate(templateSource);
            default -> ReasoningFormat.ofFlag(reasoningParser);
        });
    }

    /**
     * What an answer to {@code prompt} may have; null if content alone.
     *
     * @param schemas  the request's tools, by name; empty = none
     * @param parallel whether it may have several calls
     */
    public OutputFormat format(String prompt, Map<String, JsonNode> schemas, boolean parallel) {
        ReasoningFormat thoughts = reasoning.orElse(null);
        return schemas.isEmpty() && thoughts == null ? null
                : new OutputFormat(schemas.isEmpty() ? null : tools, schemas, parallel, false, thoughts, thoughts != null && thoughts.isOpenIn(prompt));
    }
}
