package io.millrace.scheduler.simulate;

import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.RejectedException;
import java.util.List;
import java.util.Map;

/**
 * What came of a simulation.
 *
 * @param virtualSeconds from the first arrival to the end of the last request
 * @param hostSeconds    that this took in the real world
 * @param numEntries     sequences of all steps together
 * @param hitRate        share of prompt tokens found in the prefix cache
 * @param scheduleHash   equal for equal schedules, plan by plan
 * @param numBlocks      KV blocks there were
 * @param byTenant       the same figures per tenant, by number
 * @param byPriority     the same figures per priority, in their order
 */
public record SimulationResult(double virtualSeconds, double hostSeconds, long numSteps, long numEntries, long numPreemptions, double hitRate,
        Map<RejectedException.Kind, Integer> rejections, Map<FinishReason, Integer> finishReasons, long scheduleHash, int numBlocks, Group all,
        List<Group> byTenant, Map<Integer, Group> byPriority, LoadSeries load) {

    /**
     * Requests and their latencies; those refused or ended early are in no latency.
     *
     * @param good  kept the objective
     * @param queue arrival to first scheduled
     */
    public record Group(int completed, int rejected, int good, long promptTokens, long outputTokens, Latencies ttft, Latencies tpot,
            Latencies e2e, Latencies queue) {}

    /** Virtual seconds per real one. */
    public double speedUp() {
        return virtualSeconds / hostSeconds;
    }
}
