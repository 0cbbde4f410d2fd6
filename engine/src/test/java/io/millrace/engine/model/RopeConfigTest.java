package io.millrace.engine.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.millrace.kernels.Backend;
import io.millrace.kernels.Backends;
import io.millrace.kernels.BatchLimits;
import io.millrace.kernels.DType;
import io.millrace.kernels.Rope;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Rotary positions: the spellings people publish mean the same, and the tables hold the formula's values. */
class RopeConfigTest {
    @TempDir
    Path folder;

    /** Property: Transformers 4's two spellings and Transformers 5's flat one give the same configuration. */
    @Test
    void spellings() throws IOException {
        String values = "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64";
        RopeConfig expected = new RopeConfig(500_000, 16, new RopeConfig.Llama3(8, 1, 4, 64));
        assertThat(read("{\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\"," + values + "}}")).isEqualTo(expected);
        assertThat(read("{\"rope_theta\":500000,\"rope_scaling\":{\"type\":\"llama3\"," + values + "}}")).isEqualTo(expected);
        assertThat(read("{\"rope_parameters\":{\"rope_theta\":5e5,\"rope_type\":\"llama3\"," + values + "}}")).isEqualTo(expected);
        RopeConfig plain = new RopeConfig(10_000, 16, new RopeConfig.Unscaled());
        assertThat(read("{}")).isEqualTo(plain);
        assertThat(read("{\"rope_scaling\":null}")).isEqualTo(plain);
        assertThat(read("{\"rope_parameters\":{\"rope_type\":\"default\"}}")).isEqualTo(plain);
        assertThat(read("{\"rope_theta\":7,\"partial_rotary_factor\":0.5,\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}}"))
                .isEqualTo(new RopeConfig(7, 8, new RopeConfig.Linear(4)));
    }

    /** Property: llama3 keeps short wavelengths, divides long ones by the factor, and is continuous at both edges of the band between. */
    @Test
    void llama3Bands() {
        RopeConfig.Llama3 scaling = new RopeConfig.Llama3(8, 1, 4, 8192);
        assertThat(scaling.apply(1, 0)).isEqualTo(1);
        assertThat(scaling.apply(1e-5, 0)).isEqualTo(1e-5 / 8);
        double high = 2 * Math.PI / (8192.0 / 4);
        double low = 2 * Math.PI / 8192.0;
        assertThat(scaling.apply(high * 0.999999, 0)).isCloseTo(high, within(high * 1e-5));
        assertThat(scaling.apply(low * 1.000001, 0)).isCloseTo(low / 8, within(low * 1e-5));
    }

    /** Property: position p, element i holds cos and sin of p * theta^(-2i/dim) / factor, also where the table is made in parallel. */
    @Test
    void tables() {
        RopeConfig rope = new RopeConfig(10_000, 16, new RopeConfig.Linear(2));
        try (Backend backend = Backends.create("reference", new BatchLimits(1, 1, 1, 1, 0), 1)) {
            for (int positions : new int[] {100, 40_000}) {
                Rope tables = rope.tables(backend, positions);
                for (int p : new int[] {0, 1, 63, positions - 1}) {
                    for (int i = 0; i < 8; i++) {
                        double angle = p * Math.pow(10_000, -i / 8.0) / 2;
                        assertThat(DType.F32.load(tables.cos().data(), 8L * p + i)).isCloseTo((float) Math.cos(angle), within(2e-7f));
                        assertThat(DType.F32.load(tables.sin().data(), 8L * p + i)).isCloseTo((float) Math.sin(angle), within(2e-7f));
                    }
                }
            }
        }
    }

    /** Property: tables never stand on the Java heap, where a million positions would take half a gigabyte. */
    @Test
    void tablesTakeNoHeap() {
        RopeConfig rope = new RopeConfig(10_000, 32, new RopeConfig.Unscaled());
        var threads = (com.sun.management.ThreadMXBean) java.lang.management.ManagementFactory.getThreadMXBean();
        try (Backend backend = Backends.create("reference", new BatchLimits(1, 1, 1, 1, 0), 1)) {
            rope.tables(backend, 8);
            long before = threads.getCurrentThreadAllocatedBytes();
            rope.tables(backend, 16_384);
            // Two tables of 1 MiB, made by this thread alone.
            assertThat(threads.getCurrentThreadAllocatedBytes() - before).isLessThan(200_000);
            assertThat(backend.memoryBytes().get("constants")).isGreaterThan(2 << 20);
        }
    }

    private RopeConfig read(String json) throws IOException {
        return RopeJson.read(ConfigJson.read(Files.writeString(folder.resolve("config.json"), json)), 16);
    }
}
