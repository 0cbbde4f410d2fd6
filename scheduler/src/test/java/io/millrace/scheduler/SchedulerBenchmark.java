package io.millrace.scheduler;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.StepPlan;
import io.millrace.engine.StepResult;
import io.millrace.engine.UnscoredResult;
import java.util.ArrayDeque;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.CommandLineOptionException;
import org.openjdk.jmh.runner.options.CommandLineOptions;
import org.openjdk.jmh.runner.options.OptionsBuilder;

/**
 * Host time of a step on the engine thread: requests taken over, {@code schedule}, {@code settle}; the engine's time and what submitting
 * threads do are left out. As many requests run as there are places, each with a context of {@link #context} prompt tokens and what it
 * has drawn; as soon as one ends the next enters, and its prompt is computed {@link #chunk} tokens a step. Answers are as long as it takes
 * for the prompts of all to pass ({@code misses}), so that with {@code misses} every step carries one such chunk, every block of it hashed,
 * looked up, indexed, and paid for with a block that is forgotten, beside a decode of everybody else; with {@code hits} a request enters
 * about every fourth step and finds all of its prompt but the last block. Run by {@code scripts/bench-scheduler}; arguments are JMH's.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(value = 1, jvmArgsAppend = {"-Xms2g", "-Xmx2g", "-XX:+UseSerialGC"})
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 2)
public class SchedulerBenchmark {
    private static final int BLOCK = 16;
    private static final int TENANTS = 20;

    /** decode: hits and answers of 4K tokens, so that most steps only decode; misses: every prompt is new; hits: all but its last block is cached. */
    @Param({"decode", "misses", "hits"})
    public String load;

    @Param({"256", "64"})
    public int running;

    @Param({"0", "10000"})
    public int queued;

    @Param({"fcfs"})
    public String policy;

    /** Prompt tokens of a request. */
    @Param({"8192"})
    public int context;

    /** Prompt tokens in a step. */
    @Param({"2048"})
    public int chunk;

    private final SplittableRandom random = new SplittableRandom(1);
    private int numOutput;
    private final Answers answers = new Answers();
    private final ArrayDeque<RequestState> ready = new ArrayDeque<>();
    private Scheduler scheduler;
    private int[] shared;
    private long numMade;

    @Setup(Level.Trial)
    public void fill() {
        numOutput = load.equals("decode") ? 4096 : Math.max(64, (int) (2L * running * context / chunk));
        FakeEngine limitsOnly = FakeEngine.builder().vocabSize(1 << 17).maxModelLen(1 << 20).maxNumSeqs(running)
                .maxNumBatchedTokens(chunk + running).blocks(running * (context + numOutput) / BLOCK * 5 / 4, BLOCK).build();
        scheduler = new Scheduler(limitsOnly, new SchedulerConfig(running, chunk + running, chunk, 1 << 20, true,
                QueueConfig.of(SchedulingPolicy.valueOf(policy.toUpperCase(Locale.ROOT)), TENANTS)), System::nanoTime,
                SchedulerListener.NONE);
        shared = random.ints(context - BLOCK, 0, 1 << 17).toArray();
        for (int i = 0; i < 20 * running; i++) {
            makeReady();
            step();
        }
    }

    /** What HTTP threads do: requests are there when the engine thread looks. */
    @Setup(Level.Invocation)
    public void makeReady() {
        int missing = running + queued - scheduler.progress().numRunning - scheduler.progress().numWaiting - ready.size();
        for (int i = 0; i < missing; i++) {
            int numPrompt = context - random.nextInt(BLOCK);
            int[] prompt = random.ints(numPrompt, 0, 1 << 17).toArray();
            if (!load.equals("misses")) {
                System.arraycopy(shared, 0, prompt, 0, Math.min(shared.length, numPrompt));
            }
            ready.add(new RequestState(++numMade, new GenerationRequest(prompt, SamplingParams.greedy(numOutput / 2 + random.nextInt(numOutput)), answers, null,
                    new Terms(random.nextInt(TENANTS), random.nextInt(3), 0)), BLOCK, System.nanoTime(), null));
        }
    }

    @Benchmark
    public int step() {
        while (!ready.isEmpty()) {
            scheduler.submit(ready.poll());
        }
        StepPlan plan = scheduler.schedule();
        answers.plan = plan;
        scheduler.settle(plan, answers);
        return plan.totalTokens();
    }

    public static void main(String[] args) throws RunnerException, CommandLineOptionException {
        new Runner(new OptionsBuilder().parent(new CommandLineOptions(args)).include(SchedulerBenchmark.class.getName()).build()).run();
    }

    /** Answers at once, and is the sink as well: only the scheduler's own time remains. */
    private static final class Answers extends UnscoredResult implements TokenSink {
        private StepPlan plan;
        private final SplittableRandom random = new SplittableRandom(2);

        @Override
        public int token(int i) {
            return plan.samples(i) ? 8 + random.nextInt(1 << 16) : -1;
        }

        @Override
        public int sampledRow(int i) {
            return i;
        }

        @Override
        public void onToken(int tokenId, StepResult result, int row) {}

        @Override
        public void onFinish(FinishReason reason, int stopTokenId, String message) {}
    }
}
