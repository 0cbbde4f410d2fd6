package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.SamplingParams;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The engine thread: what goes in comes out, once, and the thread ends when told. */
class EngineLoopTest {
    @Test
    void servesManyAtOnce() throws Exception {
        FakeEngine engine = FakeEngine.builder().build();
        List<RecordingSink> sinks = new ArrayList<>();
        try (EngineLoop loop = EngineLoop.start(engine, SchedulerConfig.defaults(engine.limits()), SchedulerListener.NONE)) {
            for (int i = 0; i < 20; i++) {
                sinks.add(new RecordingSink());
                loop.submit(new GenerationRequest(Harness.prompt(i, 10 + i), SamplingParams.greedy(30), sinks.getLast()));
            }
            for (int i = 0; i < 20; i++) {
                assertThat(sinks.get(i).awaitEnd()).isTrue();
                assertThat(sinks.get(i).tokens()).isEqualTo(engine.expectedTokens(Harness.prompt(i, 10 + i), SamplingParams.greedy(30)));
                assertThat(sinks.get(i).fault()).isNull();
            }
            loop.checkIntegrity();
            assertThat(loop.status().numFreeBlocks()).isEqualTo(engine.limits().numBlocks());
            loop.shutdown(Duration.ZERO);
            assertThat(loop.status().alive()).isFalse();
        }
    }
}
