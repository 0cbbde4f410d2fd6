package io.millrace.server.cli;

import io.millrace.server.config.Setting;
import io.millrace.server.config.Settings;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The arguments of {@code serve} against the table of {@link Settings}, without picocli. A plain line, of settings and a model only, means what
 * picocli would take it for; of any other the settings are still found, so that what is wrong with them can be told together with the rest.
 *
 * @param flags    texts by setting key
 * @param training whether {@code --train-start-up} was among them
 * @param plain    whether there is nothing but settings and at most one model
 * @param config   of {@code --config}, or null
 * @param problems flags that are none, or lack their value, each with its code
 */
record FlagScan(Map<String, List<String>> flags, boolean training, boolean plain, Path config, List<String> problems) {
    static final String TRAINING = "--train-start-up";
    private static final List<String> OTHERS = List.of("--verbose", "--help", "-h");

    /** @param args of {@code serve}, without its name */
    static FlagScan of(List<String> args) {
        Scanner scanner = new Scanner(args);
        while (scanner.at < args.size()) {
            scanner.take(args.get(scanner.at++));
        }
        return new FlagScan(scanner.flags, scanner.training, scanner.plain && scanner.problems.isEmpty(), scanner.config, List.copyOf(scanner.problems));
    }

    /** What {@code flag}, dashes and all, may have been meant for. */
    static String suggestion(String flag) {
        return Settings.nearest(flag.replaceFirst("^-+", "")).map(near -> near.flag().equals(flag) ? "; it is a flag of serve, not of this command"
                : "; did you mean " + near.flag() + "?").orElse("");
    }

    private static final class Scanner {
        private final List<String> args;
        private final Map<String, List<String>> flags = new LinkedHashMap<>();
        private final List<String> problems = new ArrayList<>();
        private int at;
        private boolean training;
        private boolean plain = true;
        private boolean hasModel;
        private Path config;

        Scanner(List<String> args) {
            this.args = args;
        }

        /** Files of arguments, variables and quotes are picocli's. */
        private static boolean isPlain(String text) {
            return !text.isEmpty() && !text.startsWith("@") && text.indexOf('$') < 0 && text.indexOf('"') < 0;
        }

        void take(String arg) {
            plain &= isPlain(arg);
            if (!arg.startsWith("-")) {
                plain &= !hasModel;
                hasModel = true;
                add(Settings.MODEL, arg);
                return;
            }
            int end = arg.indexOf('=') < 0 ? arg.length() : arg.indexOf('=');
            String name = arg.substring(0, end).replace('_', '-');
            if (arg.equals(TRAINING)) {
                training = true;
            } else if (OTHERS.contains(arg) || arg.equals("--")) {
                plain = false;
            } else if (name.equals("--config")) {
                plain = false;
                value(name, arg, end).ifPresent(text -> config = Path.of(text));
            } else {
                setting(name, arg, end);
            }
        }

        private void setting(String name, String arg, int end) {
            boolean negated = name.startsWith("--no-");
            // Names of one or two letters have one dash.
            String key = name.substring(negated ? 5 : name.startsWith("--") ? 2 : 1);
            Setting<?> setting = name.startsWith("--") == key.length() > 2 ? Settings.find(key).orElse(null) : null;
            boolean isSwitch = setting != null && setting.kind() == Setting.Kind.SWITCH;
            if (setting == null || negated && !isSwitch) {
                problems.add("CLI-001: " + name + " is no flag of serve" + suggestion(name));
                // What follows was its value; a model would stand there in vain.
                at += end == arg.length() && at < args.size() && !args.get(at).startsWith("-") ? 1 : 0;
                return;
            }
            plain &= name.startsWith("--");
            if (!isSwitch) {
                value(name, arg, end).ifPresent(text -> add(setting, text));
            } else {
                plain &= end == arg.length() && !flags.containsKey(setting.key());
                add(setting, end == arg.length() ? String.valueOf(!negated) : arg.substring(end + 1));
            }
        }

        /** The text after the equals sign or in the next argument. */
        private Optional<String> value(String name, String arg, int end) {
            String text;
            if (end < arg.length()) {
                text = arg.substring(end + 1);
            } else if (at < args.size() && (!args.get(at).startsWith("-") || args.get(at).matches("-[0-9.]+"))) {
                text = args.get(at++);
                plain &= !text.startsWith("-");
            } else {
                problems.add("CLI-002: " + name + " needs a value");
                return Optional.empty();
            }
            plain &= isPlain(text);
            return Optional.of(text);
        }

        private void add(Setting<?> setting, String text) {
            flags.computeIfAbsent(setting.key(), any -> new ArrayList<>()).add(text);
        }
    }
}
