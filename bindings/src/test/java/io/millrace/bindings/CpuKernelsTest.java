package io.millrace.bindings;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.bindings.cpu.generated.MillraceCpu;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** Property: a library that does not fit is a reason with a remedy, never an error that escapes class initialisation. */
class CpuKernelsTest {
    private static final NativeLibrary LOADED = new NativeLibrary("millrace_cpu", Path.of("lib.so"), null);

    @Test
    void aLibraryThatDoesNotFitIsAReason() {
        assertThat(CpuKernels.checked(LOADED, MillraceCpu::MR_ABI_VERSION)).isSameAs(LOADED);
        assertThat(CpuKernels.checked(LOADED, () -> 999).failure()).startsWith("NATIVE-004: lib.so").contains("speaks ABI 999", "rebuild");
        assertThat(CpuKernels.checked(LOADED, () -> {
            throw new ExceptionInInitializerError(new UnsatisfiedLinkError("unresolved symbol: mr_abi_version"));
        }).failure()).startsWith("NATIVE-004: lib.so").contains("unresolved symbol: mr_abi_version", "rebuild");
        NativeLibrary missing = new NativeLibrary("millrace_cpu", null, "NATIVE-001: missing");
        assertThat(CpuKernels.checked(missing, () -> 999)).isSameAs(missing);
    }
}
