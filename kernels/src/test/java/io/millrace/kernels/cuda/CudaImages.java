package io.millrace.kernels.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.bindings.cuda.CudaDrivers;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/** Makes this process's CUDA the stub, with what it takes for kernels: the build need not have found an nvcc. */
public final class CudaImages {
    private CudaImages() {}

    private static final class Folder {
        static final Path PATH = make();

        private static Path make() {
            try {
                Path folder = Files.createDirectories(Path.of("target/cuda-images").toAbsolutePath());
                byte[] image = (byte[]) StubCuda.IMAGE.heapBase().orElseThrow();
                for (String file : Arrays.stream(CudaKernel.values()).map(kernel -> kernel.file).distinct().toList()) {
                    Files.write(folder.resolve(file + ".fatbin"), image);
                }
                Files.writeString(folder.resolve(CudaKernels.TOOLKIT), "13.0\n");
                return folder;
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    public static Path folder() {
        return Folder.PATH;
    }

    public static void install() {
        System.setProperty(CudaDrivers.LIBRARY_PROPERTY, StubCuda.library());
        System.setProperty(CudaKernels.FOLDER_PROPERTY, Folder.PATH.toString());
    }

    public static void assertNothingIsLeft() {
        for (String counter : List.of("live_allocations", "live_bytes", "live_pinned", "live_streams", "live_events", "live_modules", "live_graphs")) {
            assertThat(StubCuda.get(counter)).as(counter).isZero();
        }
    }
}
