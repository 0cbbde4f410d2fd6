package io.millrace.server.cli;

import io.millrace.engine.EngineLimits;
import io.millrace.server.config.ConfigException;
import java.util.ArrayList;
import java.util.List;

/** Checks that the benchmarks share. */
final class BenchFlags {
    private BenchFlags() {}

    /** @param flagsAndValues pairs of a flag and its value, which must be at least 1 */
    static void positive(Object... flagsAndValues) {
        List<String> problems = new ArrayList<>();
        for (int i = 0; i < flagsAndValues.length; i += 2) {
            if (((Number) flagsAndValues[i + 1]).doubleValue() < 1) {
                problems.add("CLI-002: " + flagsAndValues[i] + " " + flagsAndValues[i + 1] + ": use a whole number from 1");
            }
        }
        if (!problems.isEmpty()) {
            throw new ConfigException(problems);
        }
    }

    static void fits(EngineLimits limits, int inputLen, int outputLen, int requests, int maxQueued) {
        if (inputLen + outputLen > limits.maxModelLen()) {
            throw new ConfigException(List.of("CLI-005: " + inputLen + " prompt and " + outputLen + " output tokens exceed the model's "
                    + limits.maxModelLen() + "; shorten one of them"));
        }
        if (requests > limits.maxNumSeqs() + maxQueued) {
            throw new ConfigException(List.of("CLI-005: " + requests + " requests exceed --max-num-seqs " + limits.maxNumSeqs()
                    + " and --max-num-queued-reqs " + maxQueued + " together; raise one of them"));
        }
    }
}
