package io.millrace.scheduler.simulate;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.SplittableRandom;

/**
 * Requests with their times of arrival, first to last. Immutable; the changes give new traces.
 *
 * @param arrivals in order of time; at least one
 */
public record Trace(List<Arrival> arrivals) {
    /**
     * @param nanos     after the beginning of the trace
     * @param numPrompt prompt tokens, at least 1
     * @param numOutput output tokens, at least 1
     * @param tenant    whose request, from 0
     * @param priority  smaller is more urgent
     */
    public record Arrival(long nanos, int numPrompt, int numOutput, int tenant, int priority) {
        public Arrival {
            if (nanos < 0 || numPrompt < 1 || numOutput < 1 || tenant < 0) {
                throw new IllegalArgumentException("SIM-003: an arrival after " + nanos + " ns with " + numPrompt + " prompt and " + numOutput
                        + " output tokens of tenant " + tenant + ": times and tenants begin at 0, lengths at 1");
            }
        }

        Arrival at(long time) {
            return new Arrival(time, numPrompt, numOutput, tenant, priority);
        }
    }

    public Trace {
        if (arrivals.isEmpty()) {
            throw new IllegalArgumentException("SIM-003: a trace needs at least one arrival");
        }
        arrivals = arrivals.stream().sorted(Comparator.comparingLong(Arrival::nanos)).toList();
    }

    public int size() {
        return arrivals.size();
    }

    /** From the first arrival to the last. */
    public double seconds() {
        return (arrivals.getLast().nanos() - arrivals.getFirst().nanos()) * 1e-9;
    }

    public Trace limitedTo(int numRequests) {
        return new Trace(arrivals.subList(0, Math.min(numRequests, size())));
    }

    /** @param factor 10 = the same requests in a tenth of the time */
    public Trace faster(double factor) {
        return new Trace(arrivals.stream().map(a -> a.at(Math.round(a.nanos / factor))).toList());
    }

    /** Lengths times {@code factor}, at least 1. */
    public Trace longer(double factor) {
        return new Trace(arrivals.stream().map(a -> new Arrival(a.nanos, scaled(a.numPrompt, factor), scaled(a.numOutput, factor), a.tenant,
                a.priority)).toList());
    }

    private static int scaled(int length, double factor) {
        return Math.clamp(Math.round(length * factor), 1, Integer.MAX_VALUE / 4);
    }

    /** The trace {@code times} over, one after the other with a mean gap in between. */
    public Trace repeated(int times) {
        long first = arrivals.getFirst().nanos();
        long period = arrivals.getLast().nanos() - first;
        period += Math.max(1, period / size());
        List<Arrival> all = new ArrayList<>(size() * times);
        for (int i = 0; i < times; i++) {
            for (Arrival arrival : arrivals) {
                all.add(arrival.at(arrival.nanos + i * period));
            }
        }
        return new Trace(all);
    }

    /** Tenants drawn by weight: {@code {20, 1}} gives tenant 0 twenty requests of 21. */
    public Trace withTenants(double[] weights, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        List<Arrival> all = new ArrayList<>(size());
        for (Arrival a : arrivals) {
            all.add(new Arrival(a.nanos, a.numPrompt, a.numOutput, draw(weights, random), a.priority));
        }
        return new Trace(all);
    }

    /** Priorities drawn by weight: {@code {1, 9}} gives priority 0 one request of 10 and priority 1 the others. */
    public Trace withPriorities(double[] weights, long seed) {
        SplittableRandom random = new SplittableRandom(~seed);
        List<Arrival> all = new ArrayList<>(size());
        for (Arrival a : arrivals) {
            all.add(new Arrival(a.nanos, a.numPrompt, a.numOutput, a.tenant, draw(weights, random)));
        }
        return new Trace(all);
    }

    private static int draw(double[] weights, SplittableRandom random) {
        double sum = 0;
        for (double weight : weights) {
            sum += weight;
        }
        double left = random.nextDouble() * sum;
        int drawn = 0;
        while (drawn < weights.length - 1 && left >= weights[drawn]) {
            left -= weights[drawn++];
        }
        return drawn;
    }

    public int numTenants() {
        return arrivals.stream().mapToInt(Arrival::tenant).max().orElse(0) + 1;
    }

    /** The longest request, prompt and output together. */
    public int maxLength() {
        return arrivals.stream().mapToInt(a -> a.numPrompt + a.numOutput).max().orElse(1);
    }
}
