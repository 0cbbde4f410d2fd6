package io.millrace.bindings.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import org.junit.jupiter.api.Test;

/** What can be said of drivers where there is none. */
class CudaDriversTest {
    /** Property: a machine without NVIDIA's driver gets a reason and a remedy, whichever driver is asked for. */
    @Test
    void noLibrary() {
        for (String library : new String[] {"/nowhere/libcuda.so.1", "libcuda-that-is-not-there.so.1"}) {
            for (String name : CudaDrivers.NAMES) {
                assertThatThrownBy(() -> CudaDrivers.open(name, library)).isInstanceOfSatisfying(CudaException.class, e -> {
                    assertThat(e.fault()).isEqualTo(CudaFault.NO_DRIVER);
                    assertThat(e.poisoned()).isFalse();
                }).hasMessageStartingWith("CUDA-001: cannot load " + library).hasMessageContaining("--backend cpu");
            }
        }
    }

    /** Property: an unknown driver is refused before anything is loaded, with the names that there are. */
    @Test
    void unknownDriver() {
        assertThatThrownBy(() -> CudaDrivers.open("cuda4j", "/nowhere")).isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("mixed, ffm, jcuda");
    }

    /** Property: what leaves a context unusable is told from what does not. */
    @Test
    void kindsOfStatuses() {
        for (int status : new int[] {214, 220, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999}) {
            assertThat(CudaFault.of(status)).as("%d", status).isEqualTo(CudaFault.POISONED);
        }
        for (int status : new int[] {1, 3, 4, 200, 201, 400, 500, 600, 701, 704, 705, 720, 801, 900, 908}) {
            assertThat(CudaFault.of(status)).as("%d", status).isEqualTo(CudaFault.DEFECT);
        }
        assertThat(CudaFault.of(2)).isEqualTo(CudaFault.OUT_OF_MEMORY);
        assertThat(CudaFault.of(100)).isEqualTo(CudaFault.NO_DEVICE);
        assertThat(CudaFault.of(209)).isEqualTo(CudaFault.NO_KERNEL_IMAGE);
        assertThat(CudaFault.of(222)).isEqualTo(CudaFault.DRIVER_TOO_OLD);
        assertThat(CudaFault.of(304)).isEqualTo(CudaFault.NOT_READY);
        assertThat(CudaFault.of(802)).isEqualTo(CudaFault.NOT_READY);
        assertThat(CudaFault.of("cuInit", 999)).as("nothing has run yet").isEqualTo(CudaFault.NOT_READY);
        assertThat(CudaFault.of("cuStreamSynchronize", 999)).isEqualTo(CudaFault.POISONED);
        assertThat(CudaFault.of("cuModuleLoadDataEx", 200)).as("kernels of a newer toolkit").isEqualTo(CudaFault.DRIVER_TOO_OLD);
        assertThat(CudaFault.of("cuModuleGetFunction", 200)).isEqualTo(CudaFault.DEFECT);
    }

    /** Property: a launch refuses parameters that CUDA would not take, and keeps what it was given. */
    @Test
    void launches() {
        try (Arena arena = Arena.ofConfined()) {
            assertThatThrownBy(() -> new KernelLaunch(arena, 1, 4097)).hasMessageContaining("not 4097");
            assertThatThrownBy(() -> new KernelLaunch(arena, 1, 0)).isInstanceOf(IllegalArgumentException.class);
            KernelLaunch launch = new KernelLaunch(arena, 7, 24).grid(2, 3, 4).block(128).dynamicSharedBytes(1024).stream(99).programmatic(true);
            assertThat(new long[] {launch.function(), launch.gridX(), launch.gridY(), launch.gridZ(), launch.threads(), launch.sharedBytes(), launch.stream()})
                    .containsExactly(7, 2, 3, 4, 128, 1024, 99);
            assertThat(launch.programmatic()).isTrue();
            assertThat(launch.parameters().byteSize()).isEqualTo(24);
            assertThat(launch.parameters().address() % 16).isZero();
        }
    }
}
