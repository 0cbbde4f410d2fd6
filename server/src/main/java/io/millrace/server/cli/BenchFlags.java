package io.millrace.server.cli;

import io.millrace.engine.EngineLimits;
import io.millrace.server.bench.ServeBench;
import io.millrace.server.config.ConfigException;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Checks that the benchmarks share. */
final class BenchFlags {
    private static final Pattern LIMIT = Pattern.compile("(ttft|tpot|e2el):(\\d+(?:\\.\\d+)?)");

    private BenchFlags() {}

    /** {@code ttft:200}, {@code tpot:50}, {@code e2el:2000}, in milliseconds. */
    static ServeBench.Goodput goodput(List<String> texts) {
        double ttft = Double.POSITIVE_INFINITY;
        double tpot = Double.POSITIVE_INFINITY;
        double e2e = Double.POSITIVE_INFINITY;
        for (String text : texts) {
            Matcher limit = LIMIT.matcher(text.strip());
            if (!limit.matches()) {
                throw new ConfigException(List.of("CLI-002: --goodput '" + text + "': use ttft:MS, tpot:MS or e2el:MS"));
            }
            double millis = Double.parseDouble(limit.group(2));
            switch (limit.group(1)) {
                case "ttft" -> ttft = millis;
                case "tpot" -> tpot = millis;
                default -> e2e = millis;
            }
        }
        return new ServeBench.Goodput(ttft, tpot, e2e);
    }

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
