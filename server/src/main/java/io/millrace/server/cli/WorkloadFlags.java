package io.millrace.server.cli;

import io.millrace.server.bench.ServeBench;
import java.util.List;
import picocli.CommandLine.Option;

/** Flags of the benchmarks that replay requests: on a server, or in virtual time. */
final class WorkloadFlags {
    @Option(names = "--num-prompts", paramLabel = "INT", description = "requests (default: the whole trace; 200 without one)")
    private Integer numPrompts;

    @Option(names = "--goodput", paramLabel = "NAME:MS", split = ",", description = "count requests that keep these limits: ttft:200 tpot:50 e2el:2000")
    private List<String> goodput = List.of();

    /** @param absent what it is if none is given */
    int numPrompts(int absent) {
        return numPrompts == null ? absent : numPrompts;
    }

    ServeBench.Goodput goodput() {
        return BenchFlags.goodput(goodput);
    }
}
