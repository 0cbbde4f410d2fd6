package io.millrace.server.cli;

import io.millrace.engine.EngineLimits;
import io.millrace.server.bench.EngineBench;
import io.millrace.server.bench.EngineBench.Iteration;
import io.millrace.server.bench.Spread;
import io.millrace.server.bench.WorkRates;
import io.millrace.server.config.ServerConfig;
import io.millrace.server.config.Settings;
import io.millrace.server.console.ProgressBar;
import io.millrace.server.console.Table;
import io.millrace.server.console.Texts;
import io.millrace.server.serving.Generation;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code millrace bench latency}: one batch of equal requests, again and again. */
@Command(name = "latency", sortOptions = false, header = "Time one batch of equal requests in this process, without HTTP.%n",
        synopsisHeading = "Usage: ", customSynopsis = "./millrace bench latency [flags]")
final class BenchLatencyCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Option(names = "--input-len", defaultValue = "32", paramLabel = "INT", description = "prompt tokens per request (default: ${DEFAULT-VALUE})")
    private int inputLen;

    @Option(names = "--output-len", defaultValue = "128", paramLabel = "INT", description = "output tokens per request (default: ${DEFAULT-VALUE})")
    private int outputLen;

    @Option(names = "--batch-size", defaultValue = "8", paramLabel = "INT", description = "requests in the batch (default: ${DEFAULT-VALUE})")
    private int batchSize;

    @Option(names = "--num-iters", defaultValue = "10", paramLabel = "INT", description = "measured batches (default: ${DEFAULT-VALUE})")
    private int numIters;

    @Option(names = "--num-iters-warmup", defaultValue = "3", paramLabel = "INT", description = "batches before measuring (default: ${DEFAULT-VALUE})")
    private int numWarmup;

    @Option(names = "--no-probe", description = "do not measure the machine before every batch (0.1 s, 512 MiB)")
    private boolean noProbe;

    @Option(names = "--json", paramLabel = "FILE", description = "write the figures as JSON")
    private Path json;

    @Mixin
    private MillraceCommand.Verbosity verbosity;

    static CommandLine create() {
        CommandLine line = new CommandLine(new BenchLatencyCommand());
        SettingOptions.addTo(line.getCommandSpec(), SettingOptions.modelGroups());
        return line;
    }

    @Override
    public Integer call() {
        ServerConfig config = SettingOptions.read(spec.commandLine().getParseResult(), null);
        BenchFlags.positive("--input-len", inputLen, "--output-len", outputLen, "--batch-size", batchSize, "--num-iters", numIters);
        try (Generation generation = EngineRuns.open(config); EngineRuns runs = new EngineRuns(generation, config, !noProbe)) {
            EngineLimits limits = generation.service().limits();
            BenchFlags.fits(limits, inputLen, outputLen, batchSize, config.get(Settings.MAX_NUM_QUEUED_REQS));
            List<Iteration> iterations = new ArrayList<>();
            try (ProgressBar progress = new ProgressBar("bench latency", numWarmup + numIters)) {
                for (int i = 0; i < numWarmup + numIters; i++) {
                    // Other prompts every time: what was computed before must not help.
                    Iteration iteration = runs.run(EngineBench.prompts(batchSize, inputLen, limits.vocabSize(), config.get(Settings.SEED).orElse(0) + i), outputLen);
                    if (i >= numWarmup) {
                        iterations.add(iteration);
                    }
                    progress.update(i + 1);
                }
            }
            Optional<WorkRates> rates = runs.rates(iterations);
            spec.commandLine().getOut().print(table(iterations, rates, runs));
            spec.commandLine().getOut().flush();
            JsonFile.write(json, "latency", runs.settings(), EngineBench.toMap(iterations, inputLen, outputLen, rates));
        }
        return ExitCodes.OK;
    }

    private String table(List<Iteration> iterations, Optional<WorkRates> rates, EngineRuns runs) {
        Table table = new Table().heading(batchSize + " requests of " + inputLen + " + " + outputLen + " tokens, " + iterations.size() + " iterations")
                .row("", "median", "lowest", "highest");
        row(table, "whole batch, ms", Spread.of(iterations, it -> it.seconds() * 1000));
        row(table, "until all have a first token, ms", Spread.of(iterations, it -> it.prefillSeconds() * 1000));
        row(table, "prompt, tokens/s", Spread.of(iterations, Iteration::promptRate));
        row(table, "generation, tokens/s", Spread.of(iterations, Iteration::generationRate));
        rates.ifPresent(known -> {
            row(table, "prompt, GOP/s of linears", known.prefillOps(), 1e-9);
            row(table, "generation, GOP/s of linears", known.generationOps(), 1e-9);
            row(table, "generation, GB/s moved", known.bandwidth(), 1e-9);
            table.row("generation, MB moved per token", Texts.rate(known.bytesPerToken() * 1e-6));
        });
        runs.addLimits(table);
        rates.ifPresent(known -> table.row("prompt, share of peak", EngineRuns.percent(known.prefillShare()))
                .row("generation, share of peak", EngineRuns.percent(known.generationShare()))
                .row("generation, share of what the machine reads", EngineRuns.percent(known.bandwidthShare())));
        return table.toString();
    }

    private static void row(Table table, String label, Spread spread) {
        row(table, label, spread, 1);
    }

    private static void row(Table table, String label, Spread spread, double unit) {
        if (spread.isKnown()) {
            table.row(label, Texts.rate(spread.median() * unit), Texts.rate(spread.min() * unit), Texts.rate(spread.max() * unit));
        }
    }
}
