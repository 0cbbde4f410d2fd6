package io.millrace.server.cli;

import io.millrace.engine.EngineLimits;
import io.millrace.engine.SamplingParams;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.GenerationRequest;
import io.millrace.server.bench.EngineBench;
import io.millrace.server.bench.EngineBench.Iteration;
import io.millrace.server.bench.Spread;
import io.millrace.server.bench.WorkRates;
import io.millrace.server.bench.Workload;
import io.millrace.server.config.ServerConfig;
import io.millrace.server.config.Settings;
import io.millrace.server.console.ProgressBar;
import io.millrace.server.console.Table;
import io.millrace.server.console.Texts;
import io.millrace.server.serving.Generation;
import io.millrace.server.serving.TokenStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code millrace bench throughput}: many requests at once, as fast as they go. */
@Command(name = "throughput", sortOptions = false, header = "Run many requests at once in this process, without HTTP, as fast as they go.%n",
        synopsisHeading = "Usage: ", customSynopsis = "./millrace bench throughput [flags]")
final class BenchThroughputCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Option(names = "--num-prompts", defaultValue = "200", paramLabel = "INT", description = "requests (default: ${DEFAULT-VALUE})")
    private int numPrompts;

    @Option(names = "--input-len", defaultValue = "64", paramLabel = "INT", description = "prompt tokens per request (default: ${DEFAULT-VALUE})")
    private int inputLen;

    @Option(names = "--output-len", defaultValue = "128", paramLabel = "INT", description = "output tokens per request (default: ${DEFAULT-VALUE})")
    private int outputLen;

    @Option(names = "--random-range-ratio", defaultValue = "0", paramLabel = "SHARE",
            description = "0.5: lengths vary between half and one and a half of those above (default: ${DEFAULT-VALUE})")
    private double rangeRatio;

    @Option(names = "--batch-size", paramLabel = "INT,...", split = ",",
            description = "instead: batches of these sizes one after the other, all sequences generating together (1,4,8,16,32)")
    private List<Integer> batchSizes = List.of();

    @Option(names = "--num-iters", defaultValue = "3", paramLabel = "INT", description = "with --batch-size: measured batches of each size (default: ${DEFAULT-VALUE})")
    private int numIters;

    @Option(names = "--num-iters-warmup", defaultValue = "1", paramLabel = "INT", description = "with --batch-size: batches of the first size before measuring (default: ${DEFAULT-VALUE})")
    private int numWarmup;

    @Option(names = "--no-probe", description = "with --batch-size: do not measure the machine before every batch (0.1 s, 512 MiB)")
    private boolean noProbe;

    @Option(names = "--json", paramLabel = "FILE", description = "write the figures as JSON")
    private Path json;

    @Mixin
    private MillraceCommand.Verbosity verbosity;

    static CommandLine create() {
        CommandLine line = new CommandLine(new BenchThroughputCommand());
        SettingOptions.addTo(line.getCommandSpec(), SettingOptions.modelGroups());
        return line;
    }

    @Override
    public Integer call() {
        ServerConfig config = SettingOptions.read(spec.commandLine().getParseResult(), null);
        BenchFlags.positive("--num-prompts", numPrompts, "--input-len", inputLen, "--output-len", outputLen);
        BenchServeCommand.checkRange(rangeRatio);
        if (!batchSizes.isEmpty()) {
            batches(config);
            return ExitCodes.OK;
        }
        try (Generation generation = EngineRuns.open(config)) {
            EngineLimits limits = generation.service().limits();
            BenchFlags.fits(limits, (int) Math.ceil(inputLen * (1 + rangeRatio)), (int) Math.ceil(outputLen * (1 + rangeRatio)), numPrompts,
                    config.get(Settings.MAX_NUM_QUEUED_REQS));
            Workload workload = Workload.random(numPrompts, inputLen, outputLen, rangeRatio, 0, limits.vocabSize() - 1, config.get(Settings.SEED).orElse(0));
            run(generation, workload.requests().subList(0, Math.min(4, numPrompts)), "warm-up");
            long start = System.nanoTime();
            long[] tokens = run(generation, workload.requests(), null);
            double seconds = (System.nanoTime() - start) / 1e9;
            print(generation, config, seconds, tokens);
        }
        return ExitCodes.OK;
    }

    /** Batches of each size in rounds, so that a change of the machine's speed meets all sizes alike. */
    private void batches(ServerConfig config) {
        BenchFlags.positive("--num-iters", numIters);
        batchSizes.forEach(size -> BenchFlags.positive("--batch-size", size));
        try (Generation generation = EngineRuns.open(config); EngineRuns runs = new EngineRuns(generation, config, !noProbe)) {
            EngineLimits limits = generation.service().limits();
            for (int size : batchSizes) {
                BenchFlags.fits(limits, inputLen, outputLen, size, 0);
            }
            Map<Integer, List<Iteration>> iterations = new LinkedHashMap<>();
            long seed = config.get(Settings.SEED).orElse(0);
            int total = numWarmup + numIters * batchSizes.size();
            try (ProgressBar progress = new ProgressBar("bench throughput", total)) {
                for (int i = 0; i < total; i++) {
                    int size = batchSizes.get(Math.max(0, i - numWarmup) % batchSizes.size());
                    Iteration iteration = runs.run(EngineBench.prompts(size, inputLen, limits.vocabSize(), seed + i), outputLen);
                    if (i >= numWarmup) {
                        iterations.computeIfAbsent(size, key -> new ArrayList<>()).add(iteration);
                    }
                    progress.update(i + 1);
                }
            }
            print(runs, iterations);
        }
    }

    private void print(EngineRuns runs, Map<Integer, List<Iteration>> iterations) {
        Table table = new Table().heading(String.format(Locale.ROOT, "batches of %d + %d tokens, medians of %d", inputLen, outputLen, numIters))
                .row("batch", "prompt tokens/s", "generation tokens/s", "lowest", "highest", "GB/s", "of read", "GOP/s", "of peak");
        List<Map<String, Object>> batches = new ArrayList<>();
        iterations.forEach((size, batch) -> {
            Spread generated = Spread.of(batch, Iteration::generationRate);
            Optional<WorkRates> rates = runs.rates(batch);
            table.row(Texts.count(size), Texts.rate(Spread.of(batch, Iteration::promptRate).median()), Texts.rate(generated.median()),
                    Texts.rate(generated.min()), Texts.rate(generated.max()),
                    Texts.rate(rates.map(known -> known.bandwidth().median() * 1e-9).orElse(Double.NaN)),
                    EngineRuns.percent(rates.map(WorkRates::bandwidthShare).orElse(Double.NaN)),
                    Texts.rate(rates.map(known -> known.generationOps().median() * 1e-9).orElse(Double.NaN)),
                    EngineRuns.percent(rates.map(WorkRates::generationShare).orElse(Double.NaN)));
            batches.add(EngineBench.toMap(batch, inputLen, outputLen, rates));
        });
        Table machine = new Table().row("", "median", "lowest", "highest");
        runs.addLimits(machine);
        spec.commandLine().getOut().print(table + System.lineSeparator() + machine);
        spec.commandLine().getOut().flush();
        JsonFile.write(json, "throughput", runs.settings(), Map.of("batches", batches));
    }

    /**
     * @param salt keeps the prefix cache of the warm-up apart
     * @return prompt and output tokens
     */
    private long[] run(Generation generation, List<Workload.Request> workload, String salt) {
        List<TokenStream> streams = new ArrayList<>();
        List<GenerationRequest> requests = new ArrayList<>();
        long promptTokens = 0;
        for (Workload.Request request : workload) {
            TokenStream stream = new TokenStream(request.outputLen(), Thread.currentThread());
            streams.add(stream);
            requests.add(new GenerationRequest(request.promptTokenIds(),
                    SamplingParams.builder().temperature(0f).maxTokens(request.outputLen()).ignoreEos(true).build(), stream,
                    salt));
            promptTokens += request.promptTokenIds().length;
        }
        generation.service().submitAll(requests);
        long outputTokens = 0;
        try (ProgressBar progress = new ProgressBar("bench throughput", streams.size())) {
            for (int i = 0; i < streams.size(); i++) {
                if (streams.get(i).awaitEnd() != FinishReason.LENGTH) {
                    throw new CommandFailure("SRV-003", "a request of the benchmark failed: " + streams.get(i).message(), ExitCodes.FAILURE);
                }
                outputTokens += streams.get(i).numTokens();
                progress.update(i + 1);
            }
        }
        return new long[] {promptTokens, outputTokens};
    }

    private void print(Generation generation, ServerConfig config, double seconds, long[] tokens) {
        Map<String, Object> figures = new LinkedHashMap<>();
        figures.put("elapsed_time", seconds);
        figures.put("num_requests", numPrompts);
        figures.put("total_num_tokens", tokens[0] + tokens[1]);
        figures.put("total_output_tokens", tokens[1]);
        figures.put("requests_per_second", numPrompts / seconds);
        figures.put("tokens_per_second", (tokens[0] + tokens[1]) / seconds);
        figures.put("output_tokens_per_second", tokens[1] / seconds);
        figures.put("num_preemptions", generation.service().status().numPreemptions());
        spec.commandLine().getOut().print(new Table()
                .heading(String.format(Locale.ROOT, "%d requests of about %d + %d tokens at once", numPrompts, inputLen, outputLen))
                .row("duration, s", Texts.rate(seconds))
                .row("requests/s", Texts.rate(numPrompts / seconds))
                .row("tokens/s, prompt and output", Texts.rate((tokens[0] + tokens[1]) / seconds))
                .row("output tokens/s", Texts.rate(tokens[1] / seconds)));
        spec.commandLine().getOut().flush();
        JsonFile.write(json, "throughput", Map.of("model", generation.model().name(), "backend", config.get(Settings.BACKEND), "input_len", inputLen,
                "output_len", outputLen, "random_range_ratio", rangeRatio), figures);
    }
}
