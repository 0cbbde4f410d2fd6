package io.millrace.server.cli;

import io.millrace.engine.LoadedModel;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.StringJoiner;

/** What the time from the launcher to the first possible request went into, as one line for people. */
final class StartUpTimes {
    private StartUpTimes() {}

    /**
     * {@code ready in 1.32 s (runtime 0.31, header 0.02, ..., server 0.05; beside them tokenizer 0.61)}. The parts before the semicolon follow each
     * other; what is missing to the sum was waiting for the parts behind it.
     *
     * @param total   from the launcher until now
     * @param runtime from the launcher to this program's first settings
     * @param loaded  from the launcher to the loaded model
     * @param phases  of the loading
     */
    static String line(Duration total, Duration runtime, Duration loaded, List<LoadedModel.Phase> phases) {
        StringJoiner parts = new StringJoiner(", ");
        StringJoiner beside = new StringJoiner(", ", "; beside them ", "");
        beside.setEmptyValue("");
        parts.add(part("runtime", runtime));
        for (LoadedModel.Phase phase : phases) {
            (phase.beside() ? beside : parts).add(part(phase.name(), phase.wall()));
        }
        parts.add(part("server", total.minus(loaded)));
        return part("ready in", total) + " s (" + parts + beside + ")";
    }

    private static String part(String name, Duration wall) {
        return String.format(Locale.ROOT, "%s %.2f", name, wall.toNanos() / 1e9);
    }
}
