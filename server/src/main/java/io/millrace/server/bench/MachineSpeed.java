package io.millrace.server.bench;

import io.millrace.engine.MachineProbe;
import io.millrace.engine.MachineProbe.Limit;
import java.util.ArrayList;
import java.util.Collection;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The machine's limits, from rounds between those of a benchmark: on a shared machine they change from minute to minute, and a figure can
 * only be held against what could be had beside it.
 */
public final class MachineSpeed {
    private final int threads;
    private final Map<Limit, List<Double>> rounds = new EnumMap<>(Limit.class);

    public MachineSpeed(int threads) {
        this.threads = threads;
    }

    /** One more round of each of these limits, if the machine has it. */
    public void round(MachineProbe probe, Collection<Limit> limits) {
        for (Limit limit : limits) {
            if (probe.limits().contains(limit)) {
                rounds.computeIfAbsent(limit, key -> new ArrayList<>()).add(probe.measure(limit));
            }
        }
    }

    public List<Limit> limits() {
        return List.copyOf(rounds.keySet());
    }

    public int threads(Limit limit) {
        return limit == Limit.READ_ONE_THREAD ? 1 : threads;
    }

    public int numRounds(Limit limit) {
        return rounds.getOrDefault(limit, List.of()).size();
    }

    /** Bytes or operations per second; unknown if it was not measured. */
    public Spread of(Limit limit) {
        return Spread.of(rounds.getOrDefault(limit, List.of()), value -> value);
    }

    /**
     * The time in seconds that these operations take at the measured peaks, one kind after the other; NaN if a peak was not measured.
     */
    double secondsAtPeak(Map<Limit, Double> ops) {
        return ops.entrySet().stream().mapToDouble(entry -> entry.getValue() / of(entry.getKey()).median()).sum();
    }

    /** By the limits' keys: unit, threads, rounds and the spread. */
    public Map<String, Object> toMap() {
        Map<String, Object> map = new LinkedHashMap<>();
        for (Limit limit : limits()) {
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("unit", limit.countsBytes() ? "bytes/s" : "operations/s");
            one.put("threads", threads(limit));
            one.put("rounds", numRounds(limit));
            one.putAll(of(limit).toMap());
            map.put(limit.key(), one);
        }
        return map;
    }
}
