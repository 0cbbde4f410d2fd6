package io.millrace.server.cli;

import io.millrace.engine.EngineException;
import io.millrace.server.config.ConfigException;
import io.millrace.server.config.ConfigReader;
import io.millrace.server.config.Settings;
import io.millrace.server.console.Logging;
import java.net.BindException;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Help.Ansi;
import picocli.CommandLine.Help.ColorScheme;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import picocli.CommandLine.UnmatchedArgumentException;

/** {@code ./millrace}: the commands and what becomes of their failures. */
@Command(name = "millrace", versionProvider = Version.class, sortOptions = false,
        header = "Millrace: an LLM inference server in one Java process, OpenAI-compatible, natively accelerated.%n",
        synopsisHeading = "Usage: ", customSynopsis = "./millrace COMMAND [flags]",
        commandListHeading = "%nCommands:%n",
        footer = {"", "Try:  ./millrace serve                       then open http://127.0.0.1:8000/v1/models",
            "      ./millrace run \"Once upon a time\"", "      ./millrace serve --help              all flags with their defaults", "",
            "Exit codes: 0 done, 1 failure, 2 wrong flags or configuration, 3 model not loadable, 4 address not available,",
            "            69 no JDK or compiler, 70 build failed, 73 cannot write the build, 75 another build does not end,",
            "            78 folder name not usable, 128+n ended by signal n."})
public final class MillraceCommand implements Runnable {
    /** Lower layers put their own code at the head of the message. */
    private static final Pattern CODED = Pattern.compile("[A-Z]{2,10}-\\d{3}");

    @Spec
    private CommandSpec spec;

    @Option(names = {"-h", "--help"}, usageHelp = true, description = "this text")
    private boolean help;

    @Option(names = {"-V", "--version"}, versionHelp = true, description = "version and JVM")
    private boolean version;

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "");
    }

    /** Runs the command line and returns the exit code. */
    public static int execute(String... args) {
        String[] plain = plain(args);
        return commandLine(plain).execute(plain);
    }

    /** What users of other tools type: {@code version}, {@code help serve}, and flags with underscores, as vLLM takes them. */
    static String[] plain(String... args) {
        if (args.length == 1 && args[0].equals("version")) {
            return new String[] {"--version"};
        }
        if (args.length > 0 && args[0].equals("help")) {
            return Stream.concat(Stream.of(args).skip(1), Stream.of("--help")).toArray(String[]::new);
        }
        String[] plain = args.clone();
        for (int i = 0; i < plain.length && !plain[i].equals("--"); i++) {
            int end = plain[i].indexOf('=') < 0 ? plain[i].length() : plain[i].indexOf('=');
            String kebab = plain[i].substring(0, end).replace('_', '-');
            if (kebab.startsWith("--") && Settings.find(kebab.substring(2)).isPresent()) {
                plain[i] = kebab + plain[i].substring(end);
            }
        }
        return plain;
    }

    /**
     * Describing a command takes picocli tenths of a second at start (its class files are too old for the JVM's start-up cache), so
     * only the one that is asked for is described, and all of them where none is.
     */
    static CommandLine commandLine(String... args) {
        CommandLine root = new CommandLine(new MillraceCommand());
        Map<String, Supplier<CommandLine>> commands = new LinkedHashMap<>();
        commands.put("serve", ServeCommand::create);
        commands.put("run", RunCommand::create);
        commands.put("bench", BenchCommand::create);
        commands.put("info", () -> new CommandLine(new InfoCommand()));
        String asked = args.length > 0 && commands.containsKey(args[0]) ? args[0] : null;
        commands.forEach((name, create) -> {
            if (asked == null || asked.equals(name)) {
                root.addSubcommand(name, create.get());
            }
        });
        configure(root);
        return root;
    }

    private static void configure(CommandLine line) {
        line.setUsageHelpWidth(120).setUsageHelpLongOptionsMaxWidth(34).setCaseInsensitiveEnumValuesAllowed(true)
                .setColorScheme(CommandLine.Help.defaultColorScheme(System.getenv("NO_COLOR") == null ? Ansi.AUTO : Ansi.OFF))
                .setExitCodeExceptionMapper(MillraceCommand::exitCode)
                .setParameterExceptionHandler(MillraceCommand::wrongFlags)
                .setExecutionExceptionHandler((failure, command, parsed) -> report(failure, command, isVerbose(parsed)));
        line.getSubcommands().values().forEach(MillraceCommand::configure);
    }

    /** Reports the failure of a command that ran without picocli, as picocli's would be. @return the exit code */
    static int failed(String command, Exception failure) {
        try {
            CommandLine line = commandLine(command).getSubcommands().get(command);
            return report(failure, line, false);
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    private static boolean isVerbose(CommandLine.ParseResult parsed) {
        return parsed.hasMatchedOption("--verbose") || (parsed.hasSubcommand() && isVerbose(parsed.subcommand()));
    }

    private static int wrongFlags(ParameterException failure, String... args) {
        CommandLine command = failure.getCommandLine();
        ColorScheme colors = command.getColorScheme();
        if (failure.getMessage().isEmpty()) {
            command.usage(command.getErr(), colors);
            return ExitCodes.USAGE;
        }
        List<String> problems = command.getCommandName().equals("serve") ? wrongSettings(args) : List.of();
        if (problems.isEmpty() && failure instanceof UnmatchedArgumentException unmatched) {
            problems = unmatched.getUnmatched().stream().filter(arg -> arg.startsWith("-")).map(arg -> arg.replaceFirst("=.*", ""))
                    .map(flag -> "CLI-001: Unknown option: '" + flag + "'" + FlagScan.suggestion(flag)).toList();
        }
        if (problems.isEmpty()) {
            command.getErr().println(colors.errorText("CLI-001: " + firstLine(failure.getMessage())));
            UnmatchedArgumentException.printSuggestions(failure, command.getErr());
        }
        problems.forEach(problem -> command.getErr().println(colors.errorText(problem)));
        command.getErr().println("All flags: ./" + command.getCommandSpec().qualifiedName() + " --help");
        return ExitCodes.USAGE;
    }

    /** Flags that are none with all that is wrong besides; empty where the reason is something that only picocli knows. */
    private static List<String> wrongSettings(String... args) {
        List<String> all = Arrays.asList(args);
        FlagScan scan = FlagScan.of(all.subList(all.indexOf("serve") + 1, all.size()));
        if (scan.problems().isEmpty()) {
            return List.of();
        }
        try {
            ConfigReader.readForServer(scan.problems(), scan.flags(), System.getenv(), scan.config());
            return scan.problems();
        } catch (ConfigException e) {
            return e.problems();
        }
    }

    private static int report(Exception failure, CommandLine command, boolean verbose) throws Exception {
        if (verbose) {
            throw failure;
        }
        String text = switch (failure) {
            case ConfigException config -> String.join(System.lineSeparator(), config.problems());
            case EngineException engine -> engine.getMessage();
            case CommandFailure known -> known.getMessage();
            default -> CODED.matcher(String.valueOf(failure.getMessage())).lookingAt() ? failure.getMessage()
                    : "SRV-001: " + describe(failure) + "; run again with --verbose for the stack";
        };
        text.lines().forEach(line -> command.getErr().println(command.getColorScheme().errorText(line)));
        return exitCode(failure);
    }

    private static int exitCode(Throwable failure) {
        return switch (failure) {
            case ParameterException wrong -> ExitCodes.USAGE;
            case ConfigException wrong -> ExitCodes.USAGE;
            case EngineException engine -> ExitCodes.of(engine.code());
            case CommandFailure known -> known.exitCode();
            case BindException bind -> ExitCodes.ADDRESS;
            default -> ExitCodes.FAILURE;
        };
    }

    private static String describe(Throwable failure) {
        String message = failure.getMessage();
        return failure.getClass().getSimpleName() + (message == null ? "" : ": " + firstLine(message));
    }

    private static String firstLine(String text) {
        return text.lines().findFirst().orElse("");
    }

    /** {@code --verbose} is the same flag in every command. */
    static final class Verbosity {
        @Option(names = "--verbose", description = "debug lines, and the stack of a failure")
        void set(boolean verbose) {
            if (verbose) {
                Logging.verbose();
            }
        }

        @Option(names = {"-h", "--help"}, usageHelp = true, description = "this text")
        private boolean help;
    }
}
