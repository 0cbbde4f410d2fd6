package io.millrace.scheduler.simulate;

import io.millrace.engine.Engine;
import io.millrace.engine.EngineLimits;
import io.millrace.engine.ForwardingEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepPlan;
import io.millrace.engine.StepResult;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.GenerationRequest;
import io.millrace.scheduler.RequestHandle;
import io.millrace.scheduler.SchedulerConfig;
import io.millrace.scheduler.SchedulerListener;
import io.millrace.scheduler.TokenSink;
import io.millrace.scheduler.VirtualLoop;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.LongSupplier;

/**
 * Measures steps of a real engine, of all the shapes that a {@link StepCost} tells apart: chunks of prompts at the beginning and late in a
 * context, decodes of few and many sequences with short and long contexts. The scheduler makes the plans, so they are such as it makes.
 */
public final class Calibration {
    private static final int DECODE_STEPS = 6;
    private static final int LONGEST_PROMPT = 2048;
    /** Of all sequences of a batch together. */
    private static final int MOST_TOKENS = 4 * LONGEST_PROMPT;
    private static final int MOST_SEQUENCES = 64;

    private final Engine engine;
    private final VirtualLoop loop;
    private final LongSupplier nanoTime;
    private final SplittableRandom random = new SplittableRandom(4711);
    private final List<CostFit.Sample> samples = new ArrayList<>();
    private final long deadline;
    private long stepNanos;
    private boolean measuring;

    private Calibration(Engine engine, SchedulerConfig config, double seconds, LongSupplier nanoTime) {
        this.engine = engine;
        this.nanoTime = nanoTime;
        this.loop = new VirtualLoop(new Timed(engine), config, SchedulerListener.NONE);
        this.deadline = nanoTime.getAsLong() + (long) (seconds * 1e9);
    }

    /**
     * Runs steps for about {@code seconds} on the calling thread, then fits.
     *
     * @param engine  for this thread alone; not closed
     * @param source  what was measured, for people
     */
    public static CostFit.Fitted run(Engine engine, SchedulerConfig config, double seconds, String source) {
        return run(engine, config, seconds, source, System::nanoTime);
    }

    /** @param nanoTime by which steps are measured */
    static CostFit.Fitted run(Engine engine, SchedulerConfig config, double seconds, String source, LongSupplier nanoTime) {
        Calibration calibration = new Calibration(engine, config, seconds, nanoTime);
        calibration.measure();
        return CostFit.fit(calibration.samples, source);
    }

    private void measure() {
        EngineLimits limits = engine.limits();
        long cacheTokens = (long) limits.numBlocks() * limits.blockSize();
        int longest = Math.clamp(Math.min(limits.maxModelLen(), cacheTokens) - DECODE_STEPS, 1, LONGEST_PROMPT);
        // Warm: code, caches and pages that are touched for the first time.
        batch(1, Math.min(longest, 32));
        batch(Math.min(limits.maxNumSeqs(), 4), Math.min(longest, 32));
        measuring = true;
        // Cheap shapes first and each several times over, so that short times see all kinds; then the long ones.
        for (int round = 0; round < 1000 && (round == 0 || nanoTime.getAsLong() - deadline < 0); round++) {
            for (int length : new int[] {1, longest / 16, longest / 4, longest}) {
                for (int sequences = 1; sequences <= Math.min(limits.maxNumSeqs(), MOST_SEQUENCES); sequences *= 4) {
                    if ((long) sequences * (length + DECODE_STEPS) <= Math.min(cacheTokens, MOST_TOKENS) && !outOfTime()) {
                        batch(sequences, Math.max(1, length));
                    }
                }
            }
        }
    }

    private boolean outOfTime() {
        return samples.size() >= 4 * StepCost.NUM_TERMS && nanoTime.getAsLong() - deadline >= 0;
    }

    private void batch(int sequences, int length) {
        Ends ends = new Ends();
        List<RequestHandle> requests = new ArrayList<>(sequences);
        for (int i = 0; i < sequences; i++) {
            int[] prompt = random.ints(length, 0, engine.limits().vocabSize()).toArray();
            requests.add(loop.submit(new GenerationRequest(prompt, SamplingParams.builder().temperature(0f).maxTokens(DECODE_STEPS).ignoreEos(true).build(), ends)));
        }
        while (loop.hasWork()) {
            loop.step(this::keep);
            if (measuring && outOfTime()) {
                requests.forEach(loop::abort);
            }
        }
        if (ends.failure != null) {
            throw new IllegalStateException("SIM-004: a request of the calibration failed: " + ends.failure);
        }
    }

    private long keep(StepPlan plan) {
        if (measuring) {
            samples.add(new CostFit.Sample(StepCost.terms(plan), stepNanos));
        }
        return stepNanos;
    }

    private static final class Ends implements TokenSink {
        private String failure;

        @Override
        public void onToken(int tokenId, StepResult result, int row) {}

        @Override
        public void onFinish(FinishReason reason, int stopTokenId, String message) {
            failure = reason == FinishReason.ERROR ? message : failure;
        }
    }

    /** The engine with a stop-watch. */
    private final class Timed extends ForwardingEngine {
        Timed(Engine engine) {
            super(engine);
        }

        @Override
        public StepResult execute(StepPlan plan) {
            long start = nanoTime.getAsLong();
            StepResult result = engine.execute(plan);
            stepNanos = Math.max(1, nanoTime.getAsLong() - start);
            return result;
        }
    }
}
