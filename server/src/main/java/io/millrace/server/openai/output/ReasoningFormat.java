package io.millrace.server.openai.output;

import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;

/** The marks between which models think aloud before they answer. */
public enum ReasoningFormat {
    /** Qwen3, DeepSeek R1, SmolLM3, Granite 3.3 and many more. */
    THINK("<think>", "</think>"),
    /** Magistral. */
    MISTRAL("[THINK]", "[/THINK]");

    private final String open;
    private final String close;

    ReasoningFormat(String open, String close) {
        this.open = open;
        this.close = close;
    }

    public String open() {
        return open;
    }

    public String close() {
        return close;
    }

    /** As the command line has it. */
    public String flag() {
        return name().toLowerCase(Locale.ROOT);
    }

    public static Optional<ReasoningFormat> ofFlag(String flag) {
        return Arrays.stream(values()).filter(format -> format.flag().equals(flag)).findFirst();
    }

    /** The marks that a chat template knows, if any. */
    public static Optional<ReasoningFormat> ofTemplate(String source) {
        return Arrays.stream(values()).filter(format -> source.contains(format.close)).findFirst();
    }

    /** Whether {@code prompt} ends after an opening that is not closed, so that the model goes on thinking. */
    public boolean isOpenIn(String prompt) {
        return prompt.stripTrailing().endsWith(open);
    }
}
