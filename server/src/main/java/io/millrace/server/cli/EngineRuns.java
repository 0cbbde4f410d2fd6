package io.millrace.server.cli;

import io.millrace.engine.MachineProbe;
import io.millrace.engine.MachineProbe.Limit;
import io.millrace.engine.ModelWork;
import io.millrace.server.bench.EngineBench;
import io.millrace.server.bench.EngineBench.Iteration;
import io.millrace.server.bench.MachineSpeed;
import io.millrace.server.bench.WorkRates;
import io.millrace.server.config.ServerConfig;
import io.millrace.server.config.Settings;
import io.millrace.server.console.Table;
import io.millrace.server.console.Texts;
import io.millrace.server.serving.Generation;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Iterations of equal batches, each after a round of probes of the machine: what {@code bench latency} and {@code throughput} share. */
final class EngineRuns implements AutoCloseable {
    private final Generation generation;
    private final ServerConfig config;
    private final Optional<ModelWork> work;
    private final Optional<MachineProbe> probe;
    private final MachineSpeed speed;

    /** @param measure whether to measure the machine beside the model; done for the native kernels of the CPU alone */
    EngineRuns(Generation generation, ServerConfig config, boolean measure) {
        this.generation = generation;
        this.config = config;
        this.work = generation.model().engine().work();
        this.probe = measure && work.isPresent() && config.get(Settings.BACKEND).equals("cpu") ? MachineProbe.open(config.get(Settings.THREADS)) : Optional.empty();
        this.speed = new MachineSpeed(probe.map(MachineProbe::threads).orElse(0));
    }

    /** The configured model, shown to the user as it is loaded, with all weights in place. */
    static Generation open(ServerConfig config) {
        return Generation.openPacked(config, model -> {
            model.report().forEach(line -> System.err.println("  " + line));
            System.err.println();
        });
    }

    Iteration run(List<int[]> prompts, int outputLen) {
        probe.ifPresent(open -> speed.round(open, WorkRates.limits(work.orElseThrow())));
        return EngineBench.run(generation.service(), prompts, outputLen);
    }

    /** What these iterations mean for the machine. */
    Optional<WorkRates> rates(List<Iteration> iterations) {
        return work.map(known -> WorkRates.of(iterations, known, speed));
    }

    Map<String, Object> settings() {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("model", generation.model().name());
        map.put("backend", config.get(Settings.BACKEND));
        map.put("max_num_seqs", generation.service().limits().maxNumSeqs());
        map.put("max_num_batched_tokens", generation.service().limits().maxNumBatchedTokens());
        work.ifPresent(known -> map.put("work", WorkRates.toMap(known)));
        map.put("limits", speed.toMap());
        return map;
    }

    /** The limits as measured between the iterations. */
    void addLimits(Table table) {
        for (Limit limit : speed.limits()) {
            String[] cells = MachineTable.cells(speed.of(limit));
            table.row(MachineTable.label(limit), cells[0], cells[1], cells[2]);
        }
    }

    static String percent(double share) {
        return Double.isFinite(share) ? Texts.rate(100 * share) + " %" : "-";
    }

    @Override
    public void close() {
        probe.ifPresent(MachineProbe::close);
    }
}
