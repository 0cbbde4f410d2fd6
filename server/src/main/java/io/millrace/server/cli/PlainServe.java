package io.millrace.server.cli;

import io.millrace.server.config.ConfigReader;
import io.millrace.server.config.ServerConfig;
import io.millrace.server.config.Settings;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * {@code serve [MODEL] [--setting value ...]} without picocli: its class files are too old for the JVM's start-up cache, so that loading and
 * checking them takes a start 0.1 to 0.2 s. What is not of this plain form is left to picocli and its messages. Knows no flag by name: all follow
 * from the table of settings.
 */
public final class PlainServe {
    private PlainServe() {}

    /**
     * Serves if the command line is a plain one.
     *
     * @return the exit code; empty where picocli has to look at it
     */
    public static OptionalInt execute(String... args) {
        Optional<FlagScan> scan = scan(args);
        if (scan.isEmpty()) {
            return OptionalInt.empty();
        }
        StartAhead.begin(scan.get().flags().getOrDefault(Settings.MODEL.key(), List.of()).stream().anyMatch(model -> model.endsWith(".gguf")));
        try {
            ServerConfig config = ConfigReader.readForServer(List.of(), scan.get().flags(), System.getenv(), null);
            return OptionalInt.of(ServeRun.serve(config, scan.get().training(), ServeRun.sinceStart()));
        } catch (Exception e) {
            return OptionalInt.of(MillraceCommand.failed("serve", e));
        }
    }

    /** Texts by setting, as {@link SettingOptions} would find them; empty for what is not plain. */
    static Optional<Map<String, List<String>>> flags(String... args) {
        return scan(args).map(FlagScan::flags);
    }

    private static Optional<FlagScan> scan(String... args) {
        if (args.length == 0 || !args[0].equals("serve")) {
            return Optional.empty();
        }
        return Optional.of(FlagScan.of(Arrays.asList(args).subList(1, args.length))).filter(FlagScan::plain);
    }
}
