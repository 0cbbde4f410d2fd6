package io.millrace.server.cli;

import io.millrace.server.config.ConfigException;
import io.millrace.server.config.ConfigReader;
import io.millrace.server.config.ServerConfig;
import io.millrace.server.config.Setting;
import io.millrace.server.config.Settings;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * {@code serve [MODEL] [--setting value ...]} without picocli: its class files are too old for the JVM's start-up cache, so that loading and
 * checking them takes a start 0.1 to 0.2 s. What is not of this plain form, or wrong in any way, is left to picocli and its messages.
 */
public final class PlainServe {
    private static final String TRAINING = "train-start-up";

    private PlainServe() {}

    /**
     * Serves if the command line is a plain one.
     *
     * @return the exit code; empty where picocli has to look at it
     */
    public static OptionalInt execute(String... args) {
        Optional<Map<String, List<String>>> flags = flags(args);
        if (flags.isEmpty()) {
            return OptionalInt.empty();
        }
        boolean training = flags.get().remove(TRAINING) != null;
        StartAhead.begin();
        ServerConfig config;
        try {
            config = ConfigReader.read(flags.get(), System.getenv(), null);
        } catch (ConfigException e) {
            return OptionalInt.empty();
        }
        try {
            return OptionalInt.of(ServeRun.serve(config, training, ServeRun.sinceStart()));
        } catch (Exception e) {
            return OptionalInt.of(MillraceCommand.failed("serve", e));
        }
    }

    /** Texts by setting, as {@link SettingOptions} would find them; empty for what is not plain. */
    static Optional<Map<String, List<String>>> flags(String... args) {
        if (args.length == 0 || !args[0].equals("serve")) {
            return Optional.empty();
        }
        Map<String, List<String>> flags = new LinkedHashMap<>();
        String model = null;
        for (int i = 1; i < args.length; i++) {
            String arg = args[i];
            // Files of arguments, variables and quotes are picocli's.
            if (arg.isEmpty() || arg.startsWith("@") || arg.indexOf('$') >= 0 || arg.indexOf('"') >= 0) {
                return Optional.empty();
            }
            if (!arg.startsWith("-")) {
                if (model != null) {
                    return Optional.empty();
                }
                model = arg;
                continue;
            }
            if (arg.equals("--" + TRAINING)) {
                flags.put(TRAINING, List.of("true"));
                continue;
            }
            int end = arg.indexOf('=') < 0 ? arg.length() : arg.indexOf('=');
            String key = arg.substring(0, end).replace('_', '-');
            boolean negated = key.startsWith("--no-");
            Setting<?> setting = !key.startsWith("--") ? null : Settings.find(key.substring(negated ? 5 : 2)).orElse(null);
            // Names of one or two letters have one dash.
            if (setting == null || key.length() < (negated ? 8 : 5)) {
                return Optional.empty();
            }
            String value;
            if (setting.kind() == Setting.Kind.SWITCH) {
                if (end < arg.length() || flags.containsKey(setting.key())) {
                    return Optional.empty();
                }
                value = String.valueOf(!negated);
            } else if (negated) {
                return Optional.empty();
            } else if (end < arg.length()) {
                value = arg.substring(end + 1);
            } else if (i + 1 < args.length && !args[i + 1].startsWith("-")) {
                value = args[++i];
            } else {
                return Optional.empty();
            }
            if (value.isEmpty() || value.startsWith("@") || value.indexOf('$') >= 0 || value.indexOf('"') >= 0) {
                return Optional.empty();
            }
            flags.computeIfAbsent(setting.key(), any -> new ArrayList<>()).add(value);
        }
        if (model != null) {
            flags.computeIfAbsent(Settings.MODEL.key(), any -> new ArrayList<>()).add(model);
        }
        return Optional.of(flags);
    }
}
