package io.millrace.server.config;

import java.util.List;
import java.util.Locale;
import java.util.Objects;

/**
 * One setting: the flag {@code --key}, the YAML key {@code key} (or with underscores) and the variable {@code MILLRACE_KEY}.
 *
 * @param key         kebab-case, vLLM's name where vLLM has one
 * @param aliases     other names that are accepted
 * @param placeholder what a value looks like, for help
 * @param defaultText the default as help shows it and as the parser reads it
 * @param repeatable  may be given several times (YAML list, variable separated by commas)
 */
public record Setting<T>(String key, List<String> aliases, Group group, Kind kind, String placeholder, String defaultText,
        boolean repeatable, Parser<T> parser, String description) {

    /** Headings of the help, in order; the first three concern every command that loads a model. */
    public enum Group {
        MODEL("Model"), MEMORY("Memory and batching"), MACHINE("Machine"), SERVER("Server"), LATER("Known from other servers; only the value shown is supported so far");

        private final String heading;

        Group(String heading) {
            this.heading = heading;
        }

        public String heading() {
            return heading;
        }
    }

    /** A switch is a flag that needs no value and has a {@code --no-} form. */
    public enum Kind { VALUE, SWITCH }

    /** Reads the given texts, one unless the setting is repeatable. */
    @FunctionalInterface
    public interface Parser<T> {
        /** @throws IllegalArgumentException with what is allowed; key and value are added by the caller */
        T parse(List<String> texts);
    }

    public Setting {
        Objects.requireNonNull(key);
        aliases = List.copyOf(aliases);
    }

    public String flag() {
        return "--" + key;
    }

    public String variable() {
        return "MILLRACE_" + key.toUpperCase(Locale.ROOT).replace('-', '_');
    }

    boolean answersTo(String name) {
        String kebab = name.replace('_', '-');
        return kebab.equals(key) || aliases.contains(kebab);
    }

    T defaultValue() {
        return parser.parse(defaultText.isEmpty() ? List.of() : List.of(defaultText));
    }
}
