package io.millrace.scheduler.simulate;

import io.millrace.engine.EngineLimits;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepResult;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.GenerationRequest;
import io.millrace.scheduler.RejectedException;
import io.millrace.scheduler.RequestTimeline;
import io.millrace.scheduler.SchedulerConfig;
import io.millrace.scheduler.SchedulerListener;
import io.millrace.scheduler.Terms;
import io.millrace.scheduler.TokenSink;
import io.millrace.scheduler.VirtualLoop;
import java.util.Arrays;
import java.util.SplittableRandom;

/** A trace against the real scheduler in virtual time. Used once, by {@link #run}. */
public final class Simulation {
    static final int VOCABULARY = 65_536;
    /** Ids below are left to the engine. */
    private static final int FIRST_WORD = 16;
    private static final long FIRST_SPAN_NANOS = 1_000_000;

    /** Limits that a good request keeps; infinite where none is set. */
    public record Objective(double ttftMillis, double tpotMillis, double e2eMillis) {
        public static final Objective NONE = new Objective(Double.POSITIVE_INFINITY, Double.POSITIVE_INFINITY, Double.POSITIVE_INFINITY);

        public boolean isSet() {
            return Double.isFinite(ttftMillis) || Double.isFinite(tpotMillis) || Double.isFinite(e2eMillis);
        }
    }

    /**
     * @param sharedPrefix prompt tokens that all requests of a tenant begin with (a system prompt); the others of a prompt are its own
     * @param maxTokens    output tokens that each request asks for, though it ends by itself as the trace says; 0 = exactly as many as it gets
     * @param seed         of the prompts' ids
     * @param checkEvery   prove the scheduler's invariants every so many steps; 0 = never
     * @param overlapped   plan and submit the next step while one runs
     * @param hostNanos    what the host takes for a step beside it: before it, or while the one before runs
     */
    public record Options(EngineLimits limits, SchedulerConfig scheduler, StepCost cost, Objective objective, int sharedPrefix, int maxTokens,
            long seed, int checkEvery, boolean overlapped, long hostNanos) {
        /** One step after the other, by a host that takes no time. */
        public Options(EngineLimits limits, SchedulerConfig scheduler, StepCost cost, Objective objective, int sharedPrefix, int maxTokens, long seed,
                int checkEvery) {
            this(limits, scheduler, cost, objective, sharedPrefix, maxTokens, seed, checkEvery, false, 0);
        }

        public Options withStepping(boolean isOverlapped, long nanosPerStep) {
            return new Options(limits, scheduler, cost, objective, sharedPrefix, maxTokens, seed, checkEvery, isOverlapped, nanosPerStep);
        }
    }

    private final Trace trace;
    private final Options options;
    private final SimulatedEngine engine;
    private final VirtualLoop loop;
    private final Tally tally;
    private final Recorder recorder = new Recorder();
    private int[] arrivalById = new int[1024];

    private Simulation(Trace trace, Options options) {
        this.trace = trace;
        this.options = options;
        this.engine = new SimulatedEngine(options.limits);
        this.tally = new Tally(trace.numTenants(), options.objective);
        this.loop = new VirtualLoop(engine, options.scheduler, recorder, options.overlapped, options.hostNanos);
    }

    /** Engine limits for a simulation, where there is no engine to ask. */
    public static EngineLimits limits(int maxModelLen, int maxNumSeqs, int maxNumBatchedTokens, int numBlocks, int blockSize) {
        return SimulatedEngine.limits(maxModelLen, maxNumSeqs, maxNumBatchedTokens, numBlocks, blockSize);
    }

    /** Runs until every request has ended. */
    public static SimulationResult run(Trace trace, Options options) {
        return new Simulation(trace, options).run();
    }

    private SimulationResult run() {
        long started = System.nanoTime();
        int next = 0;
        LoadSeries series = new LoadSeries(FIRST_SPAN_NANOS);
        long origin = loop.nanoTime();
        while (next < trace.size() || loop.hasWork()) {
            if (!loop.hasWork()) {
                loop.waitUntil(origin + trace.arrivals().get(next).nanos());
            }
            while (next < trace.size() && origin + trace.arrivals().get(next).nanos() <= loop.nanoTime()) {
                submit(next++, origin);
            }
            loop.step(options.cost);
            if (options.checkEvery > 0 && loop.numSteps() % options.checkEvery == 0) {
                loop.checkIntegrity();
            }
            series.record(loop.nanoTime(), loop.numWaiting(), loop.numRunning(), options.limits.numBlocks() - loop.numFreeBlocks());
        }
        return tally.result((loop.nanoTime() - origin) * 1e-9, (System.nanoTime() - started) * 1e-9, loop.numSteps(), engine.numEntries(), loop.numPreemptions(),
                engine.scheduleHash(), options.limits.numBlocks(), series);
    }

    private void submit(int index, long origin) {
        Trace.Arrival arrival = trace.arrivals().get(index);
        int id = (int) loop.nextRequestId();
        if (id >= arrivalById.length) {
            arrivalById = Arrays.copyOf(arrivalById, 2 * arrivalById.length);
        }
        arrivalById[id] = index;
        engine.setNumOutput(id, arrival.numOutput());
        boolean exact = options.maxTokens == 0;
        SamplingParams sampling = SamplingParams.builder().temperature(0f).maxTokens(exact ? arrival.numOutput() : options.maxTokens)
                .ignoreEos(exact).build();
        try {
            loop.submit(request(index, arrival, sampling), origin + arrival.nanos());
        } catch (RejectedException e) {
            tally.rejected(arrival, e.kind());
        }
    }

    private GenerationRequest request(int index, Trace.Arrival arrival, SamplingParams sampling) {
        return new GenerationRequest(prompt(index, arrival), sampling, recorder, null, new Terms(arrival.tenant(), arrival.priority(), 0));
    }

    private int[] prompt(int index, Trace.Arrival arrival) {
        int[] ids = new int[arrival.numPrompt()];
        int shared = Math.min(options.sharedPrefix, ids.length);
        fill(ids, 0, shared, options.seed ^ ~arrival.tenant());
        fill(ids, shared, ids.length, options.seed + index);
        return ids;
    }

    private static void fill(int[] ids, int from, int to, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        for (int i = from; i < to; i++) {
            ids[i] = FIRST_WORD + (random.nextInt() >>> 17);
        }
    }

    /** Hears what the server's metrics would hear. */
    private final class Recorder implements SchedulerListener, TokenSink {
        @Override
        public void onPrefilled(RequestTimeline request) {
            tally.prefilled(request.numPromptTokens(), request.numCachedTokens());
        }

        @Override
        public void onFinished(RequestTimeline request, FinishReason reason) {
            tally.finished(trace.arrivals().get(arrivalById[(int) request.id()]), request, reason);
        }

        @Override
        public void onToken(int tokenId, StepResult result, int row) {}

        @Override
        public void onFinish(FinishReason reason, int stopTokenId, String message) {
            if (reason == FinishReason.ERROR) {
                throw new IllegalStateException(message);
            }
        }
    }
}
