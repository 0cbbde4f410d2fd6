package io.millrace.server.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.millrace.engine.EngineConfig;
import io.millrace.engine.LoadedModel;
import io.millrace.engine.MachineProbe;
import io.millrace.engine.MachineProbe.Limit;
import io.millrace.engine.ModelLoader;
import io.millrace.engine.ModelWork;
import io.millrace.scheduler.EngineLoop;
import io.millrace.scheduler.SchedulerConfig;
import io.millrace.scheduler.SchedulerListener;
import io.millrace.server.bench.EngineBench.Iteration;
import java.nio.file.Path;
import java.time.Duration;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class EngineBenchTest {
    private static final ModelWork WORK = new ModelWork(1_000, 100, 10, Map.of(0, 6L, 4, 2L), Map.of(Limit.INT8, 2_000L), Map.of(Limit.FP32, 500L));

    /**
     * Property: bytes are weights once a step, and per token its embedding row, its own keys and values, and those it attends to: all, or in
     * layers with a sliding window the last ones.
     */
    @Test
    void decodeBytesAreCounted() {
        assertThat(WORK.decodeBytes(3, List.of(10, 3))).isEqualTo(3 * 1_100 + 6 * (10 + 8) + (10 + 11 + 12 + 3 + 4 + 5) * 6 + (3 * 4 + 3 + 4 + 4) * 2);
        assertThat(WORK.ops(5, 2)).isEqualTo(new EnumMap<>(Map.of(Limit.INT8, 10_000.0, Limit.FP32, 1_000.0)));
    }

    /** Property: rates are work over the time of the phase that did it; a share whose limit was not measured is unknown, not zero or one. */
    @Test
    void ratesAreWorkOverTime() {
        Iteration iteration = new Iteration(5, 2, 40, 3, 3, List.of(10, 3));
        WorkRates rates = WorkRates.of(List.of(iteration), WORK, new MachineSpeed(2));
        assertThat(rates.bytesPerToken()).isEqualTo(WORK.decodeBytes(3, List.of(10, 3)) / 6.0);
        assertThat(rates.bandwidth().median()).isEqualTo(WORK.decodeBytes(3, List.of(10, 3)) / 3.0);
        assertThat(rates.prefillOps().median()).isEqualTo((40 * 2_000 + 2 * 500) / 2.0);
        assertThat(rates.generationOps().median()).isEqualTo((6 * 2_000 + 6 * 500) / 3.0);
        assertThat(rates.bandwidthShare()).isNaN();
        assertThat(rates.prefillShare()).isNaN();
    }

    /**
     * Property: on a real model the counts agree with what its file says: every parameter of the bundled model is two bytes, all of them but
     * the norms are multiplied once per token (its head is its embedding), and a position's keys and values take layers x heads x width.
     */
    @Test
    void bundledModelIsCounted() {
        EngineConfig settings = EngineConfig.defaults().withLimits(256, 4, 64).withKvCache("bfloat16", 128).withThreads(2);
        try (LoadedModel model = ModelLoader.load(Path.of("demo-model"), settings)) {
            ModelWork work = model.engine().work().orElseThrow();
            long layers = 4L * (256 * (256 + 2 * 128) + 256 * 256 + 3 * 256 * 704);
            long head = 2048L * 256;
            assertThat(work.layerWeightBytes()).isEqualTo(2 * layers);
            assertThat(work.headWeightBytes()).isEqualTo(2 * head);
            assertThat(work.kvBytesPerToken()).isEqualTo(2L * 4 * 2 * 64 * 2);
            assertThat(work.opsPerToken().values().stream().mapToLong(Long::longValue).sum()).isEqualTo(2 * layers);
            assertThat(work.opsPerLogitRow().values().stream().mapToLong(Long::longValue).sum()).isEqualTo(2 * head);
            EngineLoop loop = EngineLoop.start(model.engine(), new SchedulerConfig(4, 64, 64, 8), SchedulerListener.NONE);
            try {
                batchIsCounted(loop, work);
            } finally {
                loop.shutdown(Duration.ofSeconds(10));
            }
        }
    }

    /** Property: generation is counted from the last first token to the first end, in which every step gives every sequence a token. */
    private static void batchIsCounted(EngineLoop loop, ModelWork work) {
        // 64 tokens a step: the second prompt is read while the first sequence already generates.
        List<int[]> prompts = EngineBench.prompts(2, 64, 2048, 1);
        Iteration it = EngineBench.run(loop, prompts, 12);
        assertThat(it.promptTokens()).isEqualTo(128);
        assertThat(it.generationSteps()).isBetween(6, 11);
        assertThat(it.generatedTokens()).isEqualTo(2 * it.generationSteps());
        assertThat(it.generationSeconds()).isPositive().isLessThanOrEqualTo(it.seconds() - it.prefillSeconds() + 1e-9);
        assertThat(it.firstContexts()).hasSize(2).allMatch(context -> context >= 65 && context <= 70);
        Iteration one = EngineBench.run(loop, EngineBench.prompts(1, 8, 2048, 1), 5);
        assertThat(one.generationSteps()).isEqualTo(4);
        assertThat(one.firstContexts()).containsExactly(9);
        Iteration none = EngineBench.run(loop, EngineBench.prompts(1, 8, 2048, 1), 1);
        assertThat(none.generationRate()).isNaN();
        Map<String, Object> map = EngineBench.toMap(List.of(one), 8, 5, Optional.of(WorkRates.of(List.of(one), work, new MachineSpeed(2))));
        assertThat(map).containsEntry("batch_size", 1).containsKeys("median_prompt_tokens_per_s", "median_generation_tokens_per_s",
                "generation_bytes_per_token", "median_generation_bytes_per_s").doesNotContainKey("generation_share_of_read_bandwidth");
        assertThat(EngineBench.toMap(List.of(none), 8, 1, Optional.empty())).doesNotContainKey("median_generation_tokens_per_s");
    }

    /** Property: rounds are kept by limit, and what a machine lacks is absent rather than zero. */
    @Test
    void roundsOfTheMachine() {
        try (MachineProbe probe = MachineProbe.open(1).orElseThrow()) {
            MachineSpeed speed = new MachineSpeed(probe.threads());
            speed.round(probe, List.of(Limit.READ, Limit.BF16));
            speed.round(probe, List.of(Limit.READ));
            assertThat(speed.numRounds(Limit.READ)).isEqualTo(2);
            assertThat(speed.limits().contains(Limit.BF16)).isEqualTo(probe.limits().contains(Limit.BF16));
            assertThat(speed.toMap()).containsKey("read_bandwidth").doesNotContainKey("copy_bandwidth");
            double oneSecondOfReading = speed.of(Limit.READ).median();
            assertThat(speed.secondsAtPeak(Map.of(Limit.READ, oneSecondOfReading))).isCloseTo(1, within(1e-9));
            assertThat(speed.secondsAtPeak(Map.of(Limit.COPY, 1.0))).isNaN();
        }
    }

    /** Property: the median of an even number is between the middle two; unknown figures do not count. */
    @Test
    void spread() {
        assertThat(Spread.of(4, 1, 3, 2)).isEqualTo(new Spread(2.5, 1, 4));
        assertThat(Spread.of(Double.NaN, 7)).isEqualTo(new Spread(7, 7, 7));
        assertThat(Spread.of().isKnown()).isFalse();
    }
}
