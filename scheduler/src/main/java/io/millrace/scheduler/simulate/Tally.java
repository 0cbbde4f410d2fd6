package io.millrace.scheduler.simulate;

import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.RejectedException;
import io.millrace.scheduler.RequestTimeline;
import io.millrace.scheduler.simulate.Simulation.Objective;
import io.millrace.scheduler.simulate.SimulationResult.Group;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Counts a simulation's requests as they end, all together, by tenant and by priority. */
final class Tally {
    private final Objective objective;
    private final Sums all = new Sums();
    private final Sums[] byTenant;
    private final Map<Integer, Sums> byPriority = new TreeMap<>();
    private final Map<RejectedException.Kind, Integer> rejections = new EnumMap<>(RejectedException.Kind.class);
    private final Map<FinishReason, Integer> reasons = new EnumMap<>(FinishReason.class);
    private long promptTokensQueried;
    private long promptTokensHit;

    /** What is summed over a group of requests. */
    private static final class Sums {
        private final Latencies ttft = new Latencies();
        private final Latencies tpot = new Latencies();
        private final Latencies e2e = new Latencies();
        private final Latencies queue = new Latencies();
        private int completed;
        private int rejected;
        private int good;
        private long promptTokens;
        private long outputTokens;

        private Group group() {
            return new Group(completed, rejected, good, promptTokens, outputTokens, ttft, tpot, e2e, queue);
        }
    }

    Tally(int numTenants, Objective objective) {
        this.objective = objective;
        byTenant = new Sums[numTenants];
        for (int i = 0; i < numTenants; i++) {
            byTenant[i] = new Sums();
        }
    }

    void rejected(Trace.Arrival arrival, RejectedException.Kind kind) {
        rejections.merge(kind, 1, Integer::sum);
        all.rejected++;
        byTenant[arrival.tenant()].rejected++;
        ofPriority(arrival).rejected++;
    }

    private Sums ofPriority(Trace.Arrival arrival) {
        return byPriority.computeIfAbsent(arrival.priority(), priority -> new Sums());
    }

    void prefilled(int numPromptTokens, int numCachedTokens) {
        promptTokensQueried += numPromptTokens;
        promptTokensHit += numCachedTokens;
    }

    void finished(Trace.Arrival arrival, RequestTimeline request, FinishReason reason) {
        reasons.merge(reason, 1, Integer::sum);
        add(all, arrival, request, reason);
        add(byTenant[arrival.tenant()], arrival, request, reason);
        add(ofPriority(arrival), arrival, request, reason);
    }

    private void add(Sums sums, Trace.Arrival arrival, RequestTimeline request, FinishReason reason) {
        sums.outputTokens += request.numOutputTokens();
        if (reason != FinishReason.STOP && reason != FinishReason.LENGTH) {
            return;
        }
        sums.completed++;
        sums.promptTokens += arrival.numPrompt();
        long ttft = request.firstTokenNanos() - request.arrivalNanos();
        long e2e = request.finishNanos() - request.arrivalNanos();
        sums.ttft.add(ttft);
        sums.e2e.add(e2e);
        sums.queue.add(request.firstScheduledNanos() - request.arrivalNanos());
        boolean good = ttft * 1e-6 <= objective.ttftMillis() && e2e * 1e-6 <= objective.e2eMillis();
        if (request.numOutputTokens() > 1) {
            long tpot = (e2e - ttft) / (request.numOutputTokens() - 1);
            sums.tpot.add(tpot);
            good &= tpot * 1e-6 <= objective.tpotMillis();
        }
        sums.good += good ? 1 : 0;
    }

    SimulationResult result(double virtualSeconds, double hostSeconds, long numSteps, long numEntries, long numPreemptions, long scheduleHash, int numBlocks,
            LoadSeries series) {
        Group[] groups = new Group[byTenant.length];
        for (int i = 0; i < groups.length; i++) {
            groups[i] = byTenant[i].group();
        }
        Map<Integer, Group> priorities = new TreeMap<>();
        byPriority.forEach((priority, sums) -> priorities.put(priority, sums.group()));
        return new SimulationResult(virtualSeconds, hostSeconds, numSteps, numEntries, numPreemptions,
                promptTokensQueried == 0 ? 0 : (double) promptTokensHit / promptTokensQueried, Map.copyOf(rejections), Map.copyOf(reasons),
                scheduleHash, numBlocks, all.group(), List.of(groups), priorities, series);
    }
}
