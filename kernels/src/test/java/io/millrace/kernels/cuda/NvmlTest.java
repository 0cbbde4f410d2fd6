package io.millrace.kernels.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.bindings.cuda.Nvml;
import org.junit.jupiter.api.Test;

/** What NVML says of devices, over a stand-in. */
class NvmlTest {
    /** Property: each figure arrives in its unit; what a device does not tell is told from nought. */
    @Test
    void samples() {
        assumeTrue(StubCuda.missing() == null, StubCuda.missing());
        try (Nvml nvml = Nvml.open(StubCuda.companion("libnvidia-ml.so.1"))) {
            assertThat(nvml.failure()).isNull();
            assertThat(nvml.sample("00000000:01:00.0")).isEqualTo(new Nvml.Sample(93, 41, 750, 1000, 512.345, 61, 1980));
            assertThat(nvml.sample("00000000:02:00.0")).isEqualTo(new Nvml.Sample(93, 41, 750, 1000, Double.NaN, 61, -1));
            assertThatThrownBy(() -> nvml.sample("00000000:03:00.0")).isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("CUDA-010").hasMessageContaining("Not Found");
        }
    }

    /** Property: where there is no library, that is a fact and no failure, until a sample is asked for. */
    @Test
    void noLibrary() {
        try (Nvml nvml = Nvml.open("/nowhere/libnvidia-ml.so.1")) {
            assertThat(nvml.failure()).startsWith("CUDA-010: cannot load /nowhere/libnvidia-ml.so.1");
            assertThatThrownBy(() -> nvml.sample("00000000:01:00.0")).hasMessage(nvml.failure());
        }
    }
}
