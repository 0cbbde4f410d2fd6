package io.millrace.telemetry;

import java.util.Locale;

/** How a request ended: the values of vLLM's label {@code finished_reason}, and {@code timeout}. */
public enum RequestOutcome {
    STOP, LENGTH, ABORT, TIMEOUT, ERROR;

    String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
