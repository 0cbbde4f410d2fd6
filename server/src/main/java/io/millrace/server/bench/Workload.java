package io.millrace.server.bench;

import io.millrace.scheduler.simulate.Trace;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * What is asked of a server: prompts of token ids, lengths, and the moment each request is due.
 *
 * @param requests in order of their due time
 */
public record Workload(List<Request> requests) {
    /** @param dueNanos after the start; 0 for all where the requests do not come at a rate */
    public record Request(int[] promptTokenIds, int outputLen, long dueNanos) {}

    /**
     * Ids drawn uniformly from {@code [firstTokenId, lastTokenId]}.
     *
     * @param range 0 = exactly these lengths; 0.5 = lengths uniform between half and one and a half of them
     */
    public static Workload random(int numPrompts, int inputLen, int outputLen, double range, int firstTokenId, int lastTokenId, long seed) {
        Random random = new Random(seed);
        List<Request> requests = new ArrayList<>(numPrompts);
        for (int i = 0; i < numPrompts; i++) {
            requests.add(new Request(ids(random, around(random, inputLen, range), firstTokenId, lastTokenId), around(random, outputLen, range), 0));
        }
        return new Workload(requests);
    }

    /**
     * The requests of a {@link TraceFile}, with random prompts of those lengths.
     *
     * @param maxPrompts lines to take at most
     * @param speed      2 = arrivals twice as fast as recorded
     * @throws IOException if the file cannot be read or a line is malformed, naming it
     */
    public static Workload trace(Path file, int maxPrompts, double speed, int firstTokenId, int lastTokenId, long seed) throws IOException {
        Random random = new Random(seed);
        List<Request> requests = new ArrayList<>();
        for (Trace.Arrival arrival : TraceFile.read(file, maxPrompts).arrivals()) {
            requests.add(new Request(ids(random, arrival.numPrompt(), firstTokenId, lastTokenId), arrival.numOutput(), (long) (arrival.nanos() / speed)));
        }
        return new Workload(requests);
    }

    /** The same requests arriving as a Poisson process of {@code requestsPerSecond}: exponential gaps, the same for the same seed. */
    public Workload arrivingAt(double requestsPerSecond, long seed) {
        Random random = new Random(seed ^ 0x9E3779B97F4A7C15L);
        List<Request> timed = new ArrayList<>(requests.size());
        double seconds = 0;
        for (Request request : requests) {
            timed.add(new Request(request.promptTokenIds(), request.outputLen(), (long) (seconds * 1e9)));
            seconds += -Math.log(1 - random.nextDouble()) / requestsPerSecond;
        }
        return new Workload(timed);
    }

    /** Whether the requests come at times of their own (open loop), not as soon as there is a place for them. */
    public boolean isTimed() {
        return requests.getLast().dueNanos() > 0;
    }

    private static int around(Random random, int length, double range) {
        int low = Math.max(1, (int) Math.round(length * (1 - range)));
        int high = Math.max(low, (int) Math.round(length * (1 + range)));
        return low + random.nextInt(high - low + 1);
    }

    private static int[] ids(Random random, int count, int first, int last) {
        return random.ints(count, first, last + 1).toArray();
    }
}
