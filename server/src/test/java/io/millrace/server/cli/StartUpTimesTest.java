package io.millrace.server.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.LoadedModel;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;

class StartUpTimesTest {
    /** Parts in sequence add up to the total unless something beside them took longer; both kinds can be told apart. */
    @Test
    void namesWhatFollowsAndWhatRanBeside() {
        String line = StartUpTimes.line(Duration.ofMillis(1320), Duration.ofMillis(310), Duration.ofMillis(1270),
                List.of(new LoadedModel.Phase("header", Duration.ofMillis(20), false), new LoadedModel.Phase("weights", Duration.ofMillis(904), false),
                        new LoadedModel.Phase("tokenizer", Duration.ofMillis(610), true)));
        assertThat(line).isEqualTo("ready in 1.32 s (runtime 0.31, header 0.02, weights 0.90, server 0.05; beside them tokenizer 0.61)");
    }

    @Test
    void saysNothingOfWhatIsNotThere() {
        String line = StartUpTimes.line(Duration.ofMillis(500), Duration.ofMillis(300), Duration.ofMillis(450), List.of());
        assertThat(line).isEqualTo("ready in 0.50 s (runtime 0.30, server 0.05)");
    }
}
