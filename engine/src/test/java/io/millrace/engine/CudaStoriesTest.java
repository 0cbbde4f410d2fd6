package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.kernels.DType;
import io.millrace.kernels.cuda.CudaImages;
import io.millrace.kernels.cuda.StubCuda;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * stories260K on the CUDA backend over the stub libcuda: real weights through the very kernels. Against exact products on the CPU, position by
 * position along the reference's own text, so that one early difference does not make all that follows another story.
 */
class CudaStoriesTest {
    private static final int TOKENS = 192;

    @BeforeAll
    static void stub() {
        assumeTrue(StubCuda.missing() == null, StubCuda.missing());
        StubCuda.reset();
        CudaImages.install();
    }

    @AfterAll
    static void nothingIsLeft() {
        if (StubCuda.missing() == null) {
            CudaImages.assertNothingIsLeft();
        }
    }

    private static int[] story() {
        List<JsonNode> cases = TestData.jsonLines(TestData.require("models/stories260K/expected/greedy.jsonl"));
        JsonNode first = cases.getFirst();
        int[] prompt = TestData.ints(first.get("prompt_ids"));
        int[] output = TestData.ints(first.get("output_ids"));
        int[] ids = Arrays.copyOf(prompt, TOKENS);
        System.arraycopy(output, 0, ids, prompt.length, TOKENS - prompt.length);
        return ids;
    }

    private static float[][] logits(String backend, DType kv, int[] ids, int chunk) {
        Path model = TestData.require("models/stories260K/hf-fp32");
        try (LogitsProbe probe = new LogitsProbe(model, backend, kv, TOKENS)) {
            return probe.logits(ids, chunk);
        }
    }

    /** Property: rounding to BF16 is all that separates the GPU from exact arithmetic: small KL divergence, the same first choice away from ties. */
    @Test
    void logitsAreThoseOfTheCpuUpToRounding() {
        int[] ids = story();
        float[][] exact = logits("cpu", DType.F32, ids, 64);
        float[][] prefilled = logits("cuda", DType.BF16, ids, 48);
        float[][] decoded = logits("cuda", DType.BF16, ids, 1);
        check("prefill", exact, prefilled);
        check("decode", exact, decoded);
    }

    private static void check(String what, float[][] exact, float[][] actual) {
        double divergence = 0;
        int agree = 0;
        double widest = 0;
        for (int p = 0; p < exact.length; p++) {
            double[] wanted = logSoftmax(exact[p]);
            double[] got = logSoftmax(actual[p]);
            for (int id = 0; id < wanted.length; id++) {
                divergence += Math.exp(wanted[id]) * (wanted[id] - got[id]);
            }
            int best = best(wanted);
            int chosen = best(got);
            agree += best == chosen ? 1 : 0;
            widest = Math.max(widest, wanted[best] - wanted[chosen]);
        }
        divergence /= exact.length;
        assertThat(divergence).as("mean KL divergence, %s", what).isBetween(0.0, 1e-3);
        assertThat(agree).as("positions where the first choice agrees, %s", what).isGreaterThanOrEqualTo(exact.length * 98 / 100);
        assertThat(widest).as("margin of a first choice that is lost, %s", what).isLessThan(0.05);
    }

    private static int best(double[] values) {
        int best = 0;
        for (int i = 1; i < values.length; i++) {
            best = values[i] > values[best] ? i : best;
        }
        return best;
    }

    private static double[] logSoftmax(float[] logits) {
        double max = 0;
        for (float logit : logits) {
            max = Math.max(max, logit);
        }
        double sum = 0;
        for (float logit : logits) {
            sum += Math.exp(logit - max);
        }
        double[] out = new double[logits.length];
        for (int i = 0; i < out.length; i++) {
            out[i] = logits[i] - max - Math.log(sum);
        }
        return out;
    }
}
