package io.millrace.server.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.scheduler.simulate.StepCost;
import io.millrace.scheduler.simulate.Trace;
import io.millrace.scheduler.simulate.Trace.Arrival;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TraceFileTest {
    @TempDir
    private Path folder;

    private Path file(String text) throws IOException {
        return Files.writeString(folder.resolve("trace"), text);
    }

    /** Property: lines of JSON are read in order of time, keys become tenants in order of appearance. */
    @Test
    void readsJsonLines() throws IOException {
        Trace trace = TraceFile.read(file("""
                {"t_ms": 20, "in": 7, "out": 3, "key": "b", "priority": -2}

                {"t_ms": 1.5, "in": 4, "out": 0, "key": "a"}
                """), 100);
        assertThat(trace.arrivals()).containsExactly(new Arrival(1_500_000, 4, 1, 1, 0), new Arrival(20_000_000, 7, 3, 0, -2));
        assertThat(TraceFile.read(file("{\"t_ms\": 0, \"in\": 1, \"out\": 1}\n".repeat(5)), 3).size()).isEqualTo(3);
    }

    /** Property: the Azure traces' CSV is read as they write it, seven digits of a second and carriage returns included; time begins at 0. */
    @Test
    void readsAzureCsv() throws IOException {
        Trace trace = TraceFile.read(file("TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n"
                + "2023-11-16 18:15:50.9951690,396,109\r\n2023-11-16 18:15:51,3,0\r\n"), 100);
        assertThat(trace.arrivals()).containsExactly(new Arrival(0, 374, 44, 0, 0), new Arrival(4_314_579_000L, 396, 109, 0, 0),
                new Arrival(4_319_410_000L, 3, 1, 0, 0));
    }

    /** Property: what is no trace is refused with the line's number. */
    @Test
    void namesTheBrokenLine() {
        assertThatThrownBy(() -> TraceFile.read(file("{\"t_ms\": 0, \"in\": 1, \"out\": 1}\n{\"t_ms\": 1}\n"), 9)).hasMessageContaining("line 2 of");
        assertThatThrownBy(() -> TraceFile.read(file("hello\n"), 9)).hasMessageContaining("line 1 of");
        assertThatThrownBy(() -> TraceFile.read(file("{\"t_ms\": -5, \"in\": 1, \"out\": 1}\n"), 9)).hasMessageContaining("line 1 of");
        assertThatThrownBy(() -> TraceFile.read(file("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,x,1\n"), 9)).hasMessageContaining("line 2 of");
        assertThatThrownBy(() -> TraceFile.read(file(""), 9)).hasMessageContaining("no request");
    }

    /** Property: a cost that was written is read back, and a file without one of the numbers is refused by the number's name. */
    @Test
    void costsSurviveTheFile() throws IOException {
        Path file = folder.resolve("cost.json");
        StepCostFile cost = new StepCostFile(new StepCost("a test", 1_234_500, 10.25, 3, 0.5, 0), 4096);
        cost.write(file);
        assertThat(StepCostFile.read(file).kvTokens()).isEqualTo(4096);
        assertThat(StepCostFile.read(file).cost().source()).isEqualTo("a test");
        assertThat(StepCostFile.read(file).cost().fixedNanos()).isCloseTo(1_234_500, org.assertj.core.api.Assertions.within(1e-3));
        Files.writeString(file, Files.readString(file).replace("per_sequence_us", "per_head_us"));
        assertThatThrownBy(() -> StepCostFile.read(file)).hasMessageContaining("per_sequence_us");
    }
}
