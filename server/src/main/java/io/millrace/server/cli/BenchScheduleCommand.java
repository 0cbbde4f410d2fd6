package io.millrace.server.cli;

import io.millrace.engine.Engine;
import io.millrace.engine.EngineLimits;
import io.millrace.engine.LoadedModel;
import io.millrace.engine.ModelLoader;
import io.millrace.scheduler.SchedulerConfig;
import io.millrace.scheduler.simulate.Calibration;
import io.millrace.scheduler.simulate.CostFit;
import io.millrace.scheduler.simulate.LoadSeries.Quantity;
import io.millrace.scheduler.simulate.Simulation;
import io.millrace.scheduler.simulate.SimulationResult;
import io.millrace.scheduler.simulate.Trace;
import io.millrace.server.bench.LoadPlot;
import io.millrace.server.bench.ScheduleReport;
import io.millrace.server.bench.ServeBench;
import io.millrace.server.bench.StepCostFile;
import io.millrace.server.bench.TraceFile;
import io.millrace.server.config.ConfigException;
import io.millrace.server.config.ServerConfig;
import io.millrace.server.config.Settings;
import io.millrace.server.console.Sparkline;
import io.millrace.server.console.Table;
import io.millrace.server.console.Texts;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code millrace bench schedule}: a trace of arrivals against the real scheduler, in virtual time. */
@Command(name = "schedule", sortOptions = false,
        header = "Replay a trace of arrivals against the scheduler in virtual time, with a model of what a step costs.%n",
        synopsisHeading = "Usage: ", customSynopsis = {"./millrace bench schedule --trace FILE [flags]",
            "       ./millrace bench schedule --calibrate MODEL [--trace FILE] [flags]"})
final class BenchScheduleCommand implements Callable<Integer> {
    private static final String H100 = "h100-8b-bf16";
    private static final int PLOT_COLUMNS = 72;
    private static final int PLOT_LINES = 6;
    private static final int DEFAULT_BATCHED_TOKENS = 8192;

    @Spec
    private CommandSpec spec;

    @Option(names = "--trace", paramLabel = "FILE", description = "arrivals: lines of {\"t_ms\": 12, \"in\": 100, \"out\": 20} (also \"key\", \"priority\"), or a CSV file of the Azure LLM inference traces")
    private Path traceFile;

    @Mixin
    private WorkloadFlags workload;

    @Option(names = "--repeat", defaultValue = "1", paramLabel = "INT", description = "the trace so many times over (default: ${DEFAULT-VALUE})")
    private int repeat;

    @Option(names = "--rate-scale", defaultValue = "1", paramLabel = "FACTOR", description = "10: the same requests ten times as fast (default: ${DEFAULT-VALUE})")
    private double rateScale;

    @Option(names = "--length-scale", defaultValue = "1", paramLabel = "FACTOR", description = "0.1: prompts and answers a tenth as long (default: ${DEFAULT-VALUE})")
    private double lengthScale;

    @Option(names = "--key-mix", paramLabel = "W:W...", description = "requests are drawn to API keys by these weights: 20:1 is two keys, one with 20 of 21 requests")
    private String keyMix;

    @Option(names = "--priority-mix", paramLabel = "W:W...", description = "requests are drawn to priorities 0, 1, ... by these weights")
    private String priorityMix;

    @Option(names = "--shared-prefix-len", defaultValue = "0", paramLabel = "INT", description = "prompts of a key begin with so many equal tokens (default: ${DEFAULT-VALUE})")
    private int sharedPrefix;

    @Option(names = "--max-tokens", defaultValue = "0", paramLabel = "INT",
            description = "what each request asks for, though it ends when the trace says; 0: exactly what it gets (default: ${DEFAULT-VALUE})")
    private int maxTokens;

    @Option(names = "--cost", defaultValue = H100, paramLabel = "FILE|" + H100, description = "cost of a step: a JSON file of --save-cost, or the built-in one made of published figures (default: ${DEFAULT-VALUE})")
    private String cost;

    @Option(names = "--calibrate", paramLabel = "MODEL", description = "measure steps of this model here and take its cost and limits")
    private String calibrate;

    @Option(names = "--calibrate-seconds", defaultValue = "20", paramLabel = "SECONDS", description = "how long to measure (default: ${DEFAULT-VALUE})")
    private double calibrateSeconds;

    @Option(names = "--save-cost", paramLabel = "FILE", description = "write the cost used as JSON")
    private Path saveCost;

    @Option(names = "--host-us", defaultValue = "0", paramLabel = "MICROSECONDS",
            description = "what scheduling a step takes, before it or, with --async-scheduling, while the one before runs (default: ${DEFAULT-VALUE})")
    private double hostMicros;

    @Option(names = "--plot", paramLabel = "FILE.svg", description = "draw queue, running requests and KV cache over time")
    private Path plot;

    @Option(names = "--json", paramLabel = "FILE", description = "write the figures as JSON")
    private Path json;

    @Mixin
    private MillraceCommand.Verbosity verbosity;

    static CommandLine create() {
        CommandLine line = new CommandLine(new BenchScheduleCommand());
        SettingOptions.addTo(line.getCommandSpec(), SettingOptions.modelGroups());
        return line;
    }

    @Override
    public Integer call() throws IOException {
        ServerConfig config = SettingOptions.read(spec.commandLine().getParseResult(), calibrate);
        check();
        PrintWriter out = spec.commandLine().getOut();
        Trace trace = traceFile == null ? null : trace(config);
        StepCostFile costs;
        EngineLimits limits = null;
        if (calibrate != null) {
            try (LoadedModel model = ModelLoader.load(config.modelPath(), config.engineConfig())) {
                limits = model.engine().limits();
                model.engine().packAll();
                costs = calibrated(out, config, model.engine(), model.name());
            }
        } else {
            costs = cost.equals(H100) ? StepCostFile.H100_8B_BF16 : StepCostFile.read(Path.of(cost));
        }
        if (saveCost != null) {
            costs.write(saveCost);
        }
        if (trace != null) {
            simulate(out, config, trace, costs, limits == null ? limits(config, trace, costs) : simulated(limits));
        }
        out.flush();
        return ExitCodes.OK;
    }

    private void check() {
        BenchFlags.positive("--num-prompts", workload.numPrompts(1), "--repeat", repeat, "--calibrate-seconds", calibrateSeconds,
                "--shared-prefix-len", sharedPrefix + 1, "--max-tokens", maxTokens + 1);
        List<String> problems = new ArrayList<>();
        if (traceFile == null && calibrate == null) {
            problems.add("CLI-002: neither --trace nor --calibrate is given: use --trace FILE to simulate, --calibrate MODEL to measure what a step costs");
        }
        if (!(hostMicros >= 0 && Double.isFinite(hostMicros))) {
            problems.add("CLI-002: --host-us " + hostMicros + ": use a number of microseconds of at least 0");
        }
        if (!(rateScale > 0 && lengthScale > 0 && Double.isFinite(rateScale) && Double.isFinite(lengthScale))) {
            problems.add("CLI-002: --rate-scale " + rateScale + " and --length-scale " + lengthScale + ": use factors above 0");
        }
        if (!problems.isEmpty()) {
            throw new ConfigException(problems);
        }
    }

    private Trace trace(ServerConfig config) {
        long seed = config.get(Settings.SEED).orElse(0);
        Trace trace = read().repeated(repeat).faster(rateScale);
        trace = lengthScale == 1 ? trace : trace.longer(lengthScale);
        trace = keyMix == null ? trace : trace.withTenants(weights("--key-mix", keyMix), seed);
        return priorityMix == null ? trace : trace.withPriorities(weights("--priority-mix", priorityMix), seed);
    }

    private Trace read() {
        try {
            return TraceFile.read(traceFile, workload.numPrompts(Integer.MAX_VALUE));
        } catch (NoSuchFileException e) {
            throw new ConfigException(List.of("CLI-002: --trace '" + traceFile + "' does not exist; give a file of arrivals"));
        } catch (IOException e) {
            throw new ConfigException(List.of("CLI-002: --trace cannot be used: " + e.getMessage()));
        }
    }

    private static double[] weights(String flag, String text) {
        try {
            double[] weights = Arrays.stream(text.split(":")).mapToDouble(Double::parseDouble).toArray();
            if (weights.length > 0 && Arrays.stream(weights).allMatch(weight -> weight > 0 && Double.isFinite(weight))) {
                return weights;
            }
        } catch (NumberFormatException e) {
            // Reported below, with weights that are not positive.
        }
        throw new ConfigException(List.of("CLI-002: " + flag + " '" + text + "': use weights above 0 such as 20:1"));
    }

    private StepCostFile calibrated(PrintWriter out, ServerConfig config, Engine engine, String name) {
        EngineLimits limits = engine.limits();
        CostFit.Fitted fitted = Calibration.run(engine, config.schedulerConfig(limits), calibrateSeconds, name + " on "
                + MachineFacts.collect().get("cpu") + ", " + config.get(Settings.BACKEND) + " backend");
        StepCostFile costs = new StepCostFile(fitted.cost(), (long) limits.numBlocks() * limits.blockSize());
        out.print(new Table().heading("cost of a step: " + fitted.cost().source() + ", " + fitted.numSteps() + " steps measured, mean error "
                + Texts.rate(100 * fitted.meanError()) + " %")
                .row("fixed, us", Texts.rate(fitted.cost().fixedNanos() * 1e-3))
                .row("per token, us", precise(fitted.cost().perTokenNanos()))
                .row("per sequence, us", precise(fitted.cost().perSequenceNanos()))
                .row("per token of context, us", precise(fitted.cost().perContextTokenNanos()))
                .row("per pair of tokens in attention, us", precise(fitted.cost().perPairNanos())));
        out.println();
        return costs;
    }

    private static String precise(double nanos) {
        return String.format(Locale.ROOT, "%.4g", nanos * 1e-3);
    }

    private EngineLimits limits(ServerConfig config, Trace trace, StepCostFile costs) {
        int maxModelLen = config.get(Settings.MAX_MODEL_LEN) > 0 ? config.get(Settings.MAX_MODEL_LEN) : Math.max(trace.maxLength(), maxTokens);
        int tokens = config.get(Settings.MAX_NUM_BATCHED_TOKENS) > 0 ? config.get(Settings.MAX_NUM_BATCHED_TOKENS) : Math.max(DEFAULT_BATCHED_TOKENS, config.get(Settings.MAX_NUM_SEQS));
        long kvTokens = costs.kvTokens() > 0 ? costs.kvTokens() : (long) maxModelLen * config.get(Settings.MAX_NUM_SEQS);
        int blocks = config.get(Settings.NUM_BLOCKS) > 0 ? config.get(Settings.NUM_BLOCKS) : (int) Math.min(Integer.MAX_VALUE / 4, Math.max(1, kvTokens / config.get(Settings.BLOCK_SIZE)));
        return Simulation.limits(maxModelLen, config.get(Settings.MAX_NUM_SEQS), tokens, blocks, config.get(Settings.BLOCK_SIZE));
    }

    private static EngineLimits simulated(EngineLimits real) {
        return Simulation.limits(real.maxModelLen(), real.maxNumSeqs(), real.maxNumBatchedTokens(), real.numBlocks(), real.blockSize());
    }

    private void simulate(PrintWriter out, ServerConfig config, Trace trace, StepCostFile costs, EngineLimits limits) throws IOException {
        SchedulerConfig settings = config.schedulerConfig(limits);
        SchedulerConfig scheduler = settings.with(settings.queue().withTenants(trace.numTenants()));
        ServeBench.Goodput asked = workload.goodput();
        Simulation.Objective objective = new Simulation.Objective(asked.ttftMillis(), asked.tpotMillis(), asked.e2eMillis());
        SimulationResult result = Simulation.run(trace, new Simulation.Options(limits, scheduler, costs.cost(), objective, sharedPrefix, maxTokens,
                config.get(Settings.SEED).orElse(0), 0).withStepping(config.get(Settings.ASYNC_SCHEDULING), Math.round(hostMicros * 1e3)));
        String title = traceFile.getFileName() + ": " + Texts.count(trace.size()) + " requests in " + Texts.rate(trace.seconds()) + " s, "
                + Texts.rate(trace.size() / Math.max(trace.seconds(), 1e-9)) + "/s";
        String setting = Texts.count(limits.maxNumSeqs()) + " sequences, " + Texts.count(limits.maxNumBatchedTokens())
                + " tokens a step, " + Texts.count((long) limits.numBlocks() * limits.blockSize()) + " tokens of KV cache, "
                + config.schedulingPolicy().name().toLowerCase(Locale.ROOT) + (config.get(Settings.ASYNC_SCHEDULING) ? ", overlapped steps" : "")
                + (hostMicros > 0 ? ", host " + Texts.rate(hostMicros) + " us a step" : "");
        out.print(ScheduleReport.table(title + System.lineSeparator() + costs.cost().source() + "; " + setting, result, objective.isSet()));
        out.println();
        Sparkline.lines("waiting requests", result.load().peaks(Quantity.WAITING, PLOT_COLUMNS), PLOT_LINES, result.load().seconds()).forEach(out::println);
        if (plot != null) {
            Files.writeString(plot, LoadPlot.svg(result.load(), result.numBlocks(), title, List.of(costs.cost().source(), setting)));
        }
        JsonFile.write(json, "schedule", settings(config, trace, costs, limits), ScheduleReport.toMap(result));
    }

    private Map<String, Object> settings(ServerConfig config, Trace trace, StepCostFile costs, EngineLimits limits) {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("trace", traceFile.getFileName().toString());
        map.put("num_prompts", trace.size());
        map.put("repeat", repeat);
        map.put("rate_scale", rateScale);
        map.put("length_scale", lengthScale);
        map.put("key_mix", keyMix);
        map.put("priority_mix", priorityMix);
        map.put("shared_prefix_len", sharedPrefix);
        map.put("max_tokens", maxTokens);
        map.put("seed", config.get(Settings.SEED).orElse(0));
        map.put("max_num_seqs", limits.maxNumSeqs());
        map.put("max_num_batched_tokens", limits.maxNumBatchedTokens());
        map.put("num_blocks", limits.numBlocks());
        map.put("block_size", limits.blockSize());
        map.put("max_num_queued_reqs", config.get(Settings.MAX_NUM_QUEUED_REQS));
        map.put("scheduling_policy", config.schedulingPolicy().name().toLowerCase(Locale.ROOT));
        map.put("async_scheduling", config.get(Settings.ASYNC_SCHEDULING));
        map.put("host_us", hostMicros);
        map.put("cost", costs.toMap());
        return map;
    }
}
