package io.millrace.server.cli;

import io.millrace.server.config.Setting;
import java.time.Duration;
import java.util.EnumSet;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code millrace serve} as picocli knows it; {@link ServeRun} does it. Usual command lines go there by way of {@link PlainServe}. */
@Command(name = "serve", sortOptions = false, header = "Serve a model over HTTP with OpenAI's API.%n",
        synopsisHeading = "Usage: ", customSynopsis = "./millrace serve [MODEL] [flags]")
final class ServeCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(index = "0", arity = "0..1", paramLabel = "MODEL", description = "the same as --model")
    private String positionalModel;

    /** Serves a few requests of its own and ends: what the JVM learns then goes into the start-up cache. */
    @Option(names = FlagScan.TRAINING, hidden = true)
    private boolean trainStartUp;

    @Mixin
    private MillraceCommand.Verbosity verbosity;

    static CommandLine create() {
        CommandLine line = new CommandLine(new ServeCommand());
        SettingOptions.addTo(line.getCommandSpec(), EnumSet.allOf(Setting.Group.class));
        return line;
    }

    @Override
    public Integer call() throws Exception {
        Duration runtime = ServeRun.sinceStart();
        return ServeRun.serve(SettingOptions.readForServer(spec.commandLine().getParseResult(), positionalModel), trainStartUp, runtime);
    }
}
