package io.millrace.kernels.cuda;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.bindings.cuda.CublasLt;
import io.millrace.bindings.cuda.CudaDriver;
import io.millrace.bindings.cuda.CudaDrivers;
import io.millrace.bindings.cuda.CudaException;
import io.millrace.bindings.cuda.CudaFault;
import io.millrace.bindings.cuda.Matmul;
import io.millrace.bindings.cuda.MatmulShape;
import io.millrace.bindings.cuda.MatmulTimings;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Matrix products through cuBLASLt's interface, over a stand-in that computes them: the row-major view of a column-major library is right. */
class CublasLtTest {
    private static final int ROWS = 3;
    private static final int OUT = 5;
    private static final int IN = 7;
    private static final long WORKSPACE = 1 << 20;

    private final Arena arena = Arena.ofConfined();
    private CudaDriver driver;
    private CublasLt library;
    private long stream;
    private float[] weightValues;
    private float[] xValues;
    private float[] outValues;
    private float[] biasValues;
    private long weight;
    private long x;
    private long out;
    private long workspace;

    @BeforeEach
    void start() {
        assumeTrue(StubCuda.missing() == null, StubCuda.missing());
        StubCuda.reset();
        driver = CudaDrivers.open("ffm", StubCuda.library());
        driver.initialize();
        driver.setCurrent(driver.retainPrimaryContext(0));
        library = CublasLt.open(List.of("/nowhere/libcublasLt.so.14", StubCuda.companion("libcublasLt.so.13")));
        stream = driver.createStream();
        workspace = driver.allocate(WORKSPACE);
        Random random = new Random(5);
        weightValues = values(random, OUT * IN);
        xValues = values(random, ROWS * IN);
        outValues = values(random, ROWS * OUT);
        biasValues = values(random, OUT);
        weight = upload(weightValues, false);
        x = upload(xValues, false);
    }

    @AfterEach
    void end() {
        if (library != null) {
            library.close();
        }
        arena.close();
    }

    /** Property: every variant of a product is what a plain loop computes, in eager runs and in graphs. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2, 3, 4, 5, 6, 7})
    void products(int variant) {
        MatmulShape shape = new MatmulShape(ROWS, OUT, IN, (variant & 1) != 0, (variant & 2) != 0, (variant & 4) != 0);
        out = upload(outValues, shape.floatOut());
        long bias = shape.bias() ? upload(biasValues, shape.floatOut()) : 0;
        try (Matmul product = new Matmul(library, shape, WORKSPACE, bias)) {
            product.run(weight, x, out, workspace, stream);
            expect(shape, 1);
            driver.beginCapture(stream);
            product.run(weight, x, out, workspace, stream);
            long executable = driver.instantiate(driver.endCapture(stream));
            driver.launchGraph(executable, stream);
            expect(shape, 2);
        }
    }

    private void expect(MatmulShape shape, int runs) {
        float[] got = download(out, ROWS * OUT, shape.floatOut());
        for (int r = 0; r < ROWS; r++) {
            for (int n = 0; n < OUT; n++) {
                double sum = shape.bias() ? biasValues[n] : 0;
                for (int k = 0; k < IN; k++) {
                    sum += (double) xValues[r * IN + k] * weightValues[n * IN + k];
                }
                double wanted = shape.accumulate() ? outValues[r * OUT + n] + runs * sum : sum;
                assertThat((double) got[r * OUT + n]).as("row %d, output %d", r, n).isEqualTo(wanted, within(shape.floatOut() ? 1e-5 : 0.02 * (1 + Math.abs(wanted))));
            }
        }
    }

    /** Property: the fastest algorithm is taken, not the first, kept in the file, and not measured again by whoever reads that. */
    @Test
    void timings(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("own").resolve("timings.tsv");
        MatmulShape shape = new MatmulShape(ROWS, OUT, IN, true, false, false);
        out = upload(outValues, true);
        MatmulTimings first = new MatmulTimings(file, "device, 4");
        try (Matmul product = new Matmul(library, shape, WORKSPACE, 0)) {
            first.choose(driver, library, product, weight, x, out, workspace, stream);
            assertThat(first.measured()).isEqualTo(1);
            first.choose(driver, library, product, weight, x, out, workspace, stream);
            assertThat(first.measured()).as("known by now").isEqualTo(1);
            first.save();
            // The stand-in's second algorithm: its magic number, 1.
            assertThat(Files.readString(file)).contains("130002,device, 4,3x5x7,float,1048576\t544c524d01000000");
            MatmulTimings second = new MatmulTimings(file, "device, 4");
            second.choose(driver, library, product, weight, x, out, workspace, stream);
            assertThat(second.measured()).isZero();
            product.run(weight, x, out, workspace, stream);
            expect(shape, 1);
            MatmulTimings elsewhere = new MatmulTimings(file, "another device");
            elsewhere.choose(driver, library, product, weight, x, out, workspace, stream);
            assertThat(elsewhere.measured()).isEqualTo(1);
        }
        assertThat(StubCuda.get("live_events")).isZero();
    }

    /** Property: a damaged file costs a measurement, nothing else. */
    @Test
    void damagedTimings(@TempDir Path folder) throws IOException {
        Path own = folder.resolve("own");
        Path file = own.resolve("timings.tsv");
        new MatmulTimings(file, "device");
        String key = "130002,device,3x5x7,float,1048576";
        out = upload(outValues, true);
        for (String damage : List.of("no line", key + "\tzz\t1", key + "\t00\t1", key + "\t" + "00".repeat(64) + "\t1", key + "\t")) {
            Files.writeString(file, damage);
            MatmulTimings timings = new MatmulTimings(file, "device");
            try (Matmul product = new Matmul(library, new MatmulShape(ROWS, OUT, IN, true, false, false), WORKSPACE, 0)) {
                timings.choose(driver, library, product, weight, x, out, workspace, stream);
                assertThat(timings.measured()).as(damage).isEqualTo(1);
            }
        }
    }

    /** Property: what is missing or wrong is told. */
    @Test
    void refusals() {
        assertThatThrownBy(() -> CublasLt.open(List.of("/nowhere/a.so", "/nowhere/b.so"))).isInstanceOfSatisfying(CudaException.class,
                e -> assertThat(e.fault()).isEqualTo(CudaFault.NO_CUBLASLT)).hasMessageContaining("CUDA-009: cannot load /nowhere/a.so or /nowhere/b.so");
        assertThatThrownBy(() -> new MatmulShape(0, 1, 1, false, false, false)).isInstanceOf(IllegalArgumentException.class);
        MatmulShape biased = new MatmulShape(1, 1, 1, false, true, false);
        assertThatThrownBy(() -> new Matmul(library, biased, 0, 0)).hasMessageContaining("a bias where the shape has none");
        out = driver.allocate(2 * ROWS * OUT);
        try (Matmul product = new Matmul(library, new MatmulShape(ROWS, OUT, IN, true, false, false), WORKSPACE, 0)) {
            assertThatThrownBy(() -> product.run(weight, x, out, workspace, stream)).isInstanceOf(CudaException.class)
                    .hasMessageContaining("cublasLtMatmul failed with cuBLAS status 7");
        }
    }

    // --- bfloat16 and device memory

    private static float[] values(Random random, int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = Float.intBitsToFloat(Float.floatToRawIntBits((float) random.nextGaussian()) & 0xffff0000);
        }
        return values;
    }

    private long upload(float[] values, boolean asFloat) {
        int size = asFloat ? 4 : 2;
        MemorySegment bytes = arena.allocate((long) values.length * size, 16);
        for (int i = 0; i < values.length; i++) {
            if (asFloat) {
                bytes.setAtIndex(JAVA_FLOAT, i, values[i]);
            } else {
                bytes.setAtIndex(JAVA_SHORT, i, (short) (Float.floatToRawIntBits(values[i]) >>> 16));
            }
        }
        long address = driver.allocate(bytes.byteSize());
        driver.copyToDevice(address, bytes, bytes.byteSize(), stream);
        return address;
    }

    private float[] download(long address, int count, boolean asFloat) {
        MemorySegment bytes = arena.allocate((long) count * (asFloat ? 4 : 2), 16);
        driver.copyToHost(bytes, address, bytes.byteSize(), stream);
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = asFloat ? bytes.getAtIndex(JAVA_FLOAT, i) : Float.intBitsToFloat(bytes.getAtIndex(JAVA_SHORT, i) << 16);
        }
        return values;
    }
}
