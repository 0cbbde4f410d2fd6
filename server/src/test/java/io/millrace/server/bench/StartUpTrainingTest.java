package io.millrace.server.bench;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.EngineConfig;
import java.io.IOException;
import org.junit.jupiter.api.Test;

class StartUpTrainingTest {
    /** Property: the model of the training is one that loads, tokenizes and computes; else the cache would miss what it is made for. */
    @Test
    void trainingModelRuns() throws IOException {
        assertThat(StartUpTraining.loadGguf(EngineConfig.defaults().withThreads(1))).isPositive();
    }
}
