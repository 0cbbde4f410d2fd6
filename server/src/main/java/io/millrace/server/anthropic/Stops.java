package io.millrace.server.anthropic;

import io.millrace.server.openai.JsonBuffer;

/** Why an answer ended, in the protocol's words. */
final class Stops {
    private Stops() {}

    /** Writes {@code "stop_reason":...,"stop_sequence":...}. */
    static void write(String reason, String stopString, JsonBuffer json) {
        String word = switch (reason) {
            case "length" -> "max_tokens";
            case "tool_calls" -> "tool_use";
            default -> stopString != null ? "stop_sequence" : "end_turn";
        };
        json.raw("\"stop_reason\":\"").raw(word).raw("\",\"stop_sequence\":").string(stopString);
    }

    /** Writes the usage object; what came from the prefix cache is counted apart from the other input, as the protocol has it. */
    static void writeUsage(int promptTokens, int cachedTokens, int outputTokens, JsonBuffer json) {
        json.raw("\"usage\":{\"input_tokens\":").number(promptTokens - cachedTokens).raw(",\"cache_creation_input_tokens\":0")
                .raw(",\"cache_read_input_tokens\":").number(cachedTokens).raw(",\"output_tokens\":").number(outputTokens).raw("}");
    }
}
