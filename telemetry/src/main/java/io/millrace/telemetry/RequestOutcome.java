package io.millrace.telemetry;

import java.util.Locale;

/** How a request ended: the values of vLLM's label {@code finished_reason}. */
public enum RequestOutcome {
    STOP, LENGTH, ABORT, ERROR;

    String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
