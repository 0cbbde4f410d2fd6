package io.millrace.server.config;

import java.util.List;

/** All that is wrong with the configuration, in the order of the settings; each line carries its code, the value and the remedy. */
public final class ConfigException extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final transient List<String> problems;

    public ConfigException(List<String> problems) {
        super(String.join(System.lineSeparator(), problems));
        this.problems = List.copyOf(problems);
    }

    public List<String> problems() {
        return problems;
    }
}
