package io.millrace.server.openai.output;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;

/**
 * What the text of an answer may have beside content.
 *
 * @param tools           how calls are written, or null if none are looked for
 * @param schemas         the request's tools: by name, the JSON schema of their arguments
 * @param parallelCalls   whether more than the first call counts
 * @param callsOnly       whether there is nothing but calls, so that half of one is nothing
 * @param reasoning       how thinking is marked, or null if it is not looked for
 * @param reasoningOpened whether the prompt ends within the model's thinking
 */
public record OutputFormat(ToolFormat tools, Map<String, JsonNode> schemas, boolean parallelCalls, boolean callsOnly, ReasoningFormat reasoning, boolean reasoningOpened) {
    /** Of an answer that is one of the calls of {@code schemas}, or several, in plain JSON. */
    public static OutputFormat callsOnly(Map<String, JsonNode> schemas, boolean parallelCalls) {
        return new OutputFormat(ToolFormat.JSON, schemas, parallelCalls, true, null, false);
    }

    /** A new parser, for one choice. */
    public OutputParser parser() {
        OutputParser answer = tools == null ? OutputParser.plain() : tools.parser(schemas);
        return reasoning == null ? answer : new ReasoningParser(reasoning.open(), reasoning.close(), reasoningOpened, answer);
    }

    /** Puts between a parser and {@code sink} what keeps calls from it that do not count. */
    public OutputSink sink(OutputSink sink) {
        return tools == null || parallelCalls && !callsOnly ? sink : new WantedParts(sink, parallelCalls ? Integer.MAX_VALUE : 1, !callsOnly);
    }

    /** Texts of tokens that must reach the parser although they may be special ones, which are left out of answers. */
    public Set<String> markers() {
        Set<String> markers = new LinkedHashSet<>();
        if (tools != null) {
            markers.addAll(tools.markers());
        }
        if (reasoning != null) {
            markers.add(reasoning.open());
            markers.add(reasoning.close());
        }
        return markers;
    }
}
