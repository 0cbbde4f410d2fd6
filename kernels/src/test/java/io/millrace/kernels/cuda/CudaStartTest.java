package io.millrace.kernels.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.kernels.AttentionShape;
import io.millrace.kernels.Batch;
import io.millrace.kernels.DeviceException;
import java.util.ArrayList;
import java.util.List;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a start makes of the device and the driver that it finds. */
class CudaStartTest {
    @BeforeEach
    void stub() {
        assumeTrue(StubCuda.missing() == null, StubCuda.missing());
        StubCuda.reset();
        CudaImages.install();
    }

    @AfterEach
    void nothingIsLeft() {
        System.clearProperty(CudaKernels.PDL_PROPERTY);
        if (StubCuda.missing() == null) {
            CudaImages.assertNothingIsLeft();
        }
    }

    private static AttentionShape heads(int headDim) {
        return new AttentionShape(2, 1, headDim, 0.25f);
    }

    private static void capability(int major, int minor) {
        StubCuda.set("compute_major", major);
        StubCuda.set("compute_minor", minor);
    }

    /** A prompt and a step of decode. @return the tokens drawn */
    private static List<Integer> serve(CudaStepTest.Decoder decoder) {
        Batch batch = decoder.backend.batch();
        List<Integer> tokens = new ArrayList<>();
        for (int from : new int[] {0, 9}) {
            batch.clear();
            CudaStepTest.Decoder.add(batch, 0, from, from == 0 ? 9 : 10);
            decoder.backend.run(decoder.program);
            tokens.add(batch.sampling.token(0));
        }
        return tokens;
    }

    /** Property: a device whose blocks may have little shared memory serves what fits, and refuses heads that do not, with their size and its name. */
    @ParameterizedTest
    @CsvSource({"8, 6", "8, 9", "12, 0"})
    void smallSharedMemory(int major, int minor) {
        capability(major, minor);
        for (int headDim : new int[] {64, 128}) {
            try (CudaStepTest.Decoder decoder = new CudaStepTest.Decoder("ffm", heads(headDim))) {
                assertThat(serve(decoder)).hasSize(2);
            }
        }
        assertThatThrownBy(() -> new CudaStepTest.Decoder("ffm", heads(256))).isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("OP-008: kvCache: ").hasMessageContainingAll("heads of 256", "Millrace emulated device", major + "." + minor, "131,072",
                        "101,376", "--backend cpu");
    }

    /** Property: devices with much of it serve heads of 256. */
    @ParameterizedTest
    @CsvSource({"8, 0", "9, 0", "10, 0"})
    void largeSharedMemory(int major, int minor) {
        capability(major, minor);
        try (CudaStepTest.Decoder decoder = new CudaStepTest.Decoder("ffm", heads(256))) {
            assertThat(serve(decoder)).hasSize(2);
        }
    }

    /** Property: the toolkit that built the kernels says how old the driver may be; a message names both. */
    @ParameterizedTest
    @ValueSource(ints = {12000, 12080, 12090})
    void oldDrivers(int version) {
        StubCuda.set("driver_version", version);
        assertThatThrownBy(CudaStepTest.Decoder::new).isInstanceOfSatisfying(DeviceException.class, e -> assertThat(e.code()).isEqualTo("CUDA-002"))
                .hasMessageContainingAll("for CUDA 12." + version % 1000 / 10, "CUDA 13.0", "--backend cpu");
    }

    /** Property: any driver of the toolkit's major version will do, and every later one. */
    @ParameterizedTest
    @ValueSource(ints = {13000, 13020, 14000})
    void newDrivers(int version) {
        StubCuda.set("driver_version", version);
        try (CudaStepTest.Decoder decoder = new CudaStepTest.Decoder()) {
            assertThat(serve(decoder)).hasSize(2);
        }
    }

    /** Property: kernels may start early where their code waits for what it reads, which code compiled for less than sm_90 does not, on any device. */
    @ParameterizedTest
    @CsvSource({"9, 0, on, ffm, true", "10, 0, on, mixed, true", "8, 0, on, ffm, false", "12, 0, on, ffm, false", "9, 0, off, ffm, false",
        "9, 0, on, jcuda, false"})
    void programmaticLaunches(int major, int minor, String property, String driver, boolean expected) {
        capability(major, minor);
        System.setProperty(CudaKernels.PDL_PROPERTY, property);
        try (CudaStepTest.Decoder decoder = new CudaStepTest.Decoder(driver, heads(16))) {
            serve(decoder);
            assertThat(StubCuda.get("programmatic_launches") > 0).isEqualTo(expected);
        }
    }

    /** Property: a driver that does not capture programmatic launches, or whose capture breaks of one, gets plain ones, and one line of the log says so. */
    @ParameterizedTest
    @ValueSource(ints = {0, -1})
    void programmaticLaunchesThatAreNotCaptured(int refusal) {
        List<Integer> expected;
        try (CudaStepTest.Decoder decoder = new CudaStepTest.Decoder()) {
            expected = serve(decoder);
        }
        StubCuda.set("programmatic_capture", refusal);
        List<LogRecord> lines = new ArrayList<>();
        Logger logger = Logger.getLogger("io.millrace.kernels.cuda");
        Handler handler = new Handler() {
            @Override
            public void publish(LogRecord line) {
                lines.add(line);
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        };
        logger.addHandler(handler);
        try (CudaStepTest.Decoder decoder = new CudaStepTest.Decoder()) {
            long before = StubCuda.get("programmatic_launches");
            assertThat(serve(decoder)).isEqualTo(expected);
            assertThat(StubCuda.get("programmatic_launches")).as("of no later launch either").isEqualTo(before);
            assertThat(StubCuda.get("graph_launches")).isEqualTo(2);
        } finally {
            logger.removeHandler(handler);
        }
        assertThat(lines).singleElement().satisfies(line -> assertThat(line.getMessage()).contains("millrace.cuda.pdl=off", "cuLaunchKernelEx answered 900"));
    }

    /** Property: a capture that fails for another reason is told with that reason, not with what ending it says, and leaves no graph behind. */
    @Test
    void theLaunchThatFailsIsTold() {
        StubCuda.set("fail_capture", 1);
        assertThatThrownBy(CudaStepTest.Decoder::new).isInstanceOfSatisfying(DeviceException.class, e -> assertThat(e.code()).isEqualTo("CUDA-008"))
                .hasMessageContaining("cuLaunchKernelEx failed with CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED (900)");
    }
}
