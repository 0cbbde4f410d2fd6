package io.millrace.server.cli;

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code millrace bench}: the measuring commands. */
@Command(name = "bench", sortOptions = false, header = "Measure speed: of the engine in this process, of a server over HTTP, or of the scheduler in virtual time.%n",
        synopsisHeading = "Usage: ", customSynopsis = "./millrace bench latency|throughput|perplexity|serve|schedule [flags]", commandListHeading = "%nCommands:%n")
final class BenchCommand implements Runnable {
    @Spec
    private CommandSpec spec;

    @Mixin
    private MillraceCommand.Verbosity verbosity;

    static CommandLine create() {
        CommandLine line = new CommandLine(new BenchCommand());
        line.addSubcommand("latency", BenchLatencyCommand.create());
        line.addSubcommand("throughput", BenchThroughputCommand.create());
        line.addSubcommand("perplexity", BenchPerplexityCommand.create());
        line.addSubcommand("serve", new CommandLine(new BenchServeCommand()));
        line.addSubcommand("schedule", BenchScheduleCommand.create());
        return line;
    }

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "");
    }
}
