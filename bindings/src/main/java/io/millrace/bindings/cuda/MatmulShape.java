package io.millrace.bindings.cuda;

/**
 * {@code out[rows, outFeatures] = x[rows, inFeatures] * weight[outFeatures, inFeatures]^T}, all row-major; inputs are bfloat16, sums are float.
 *
 * @param floatOut   whether the result is float; else bfloat16
 * @param bias       whether {@code bias[outFeatures]}, of the result's type, is added
 * @param accumulate whether the product is added to what {@code out} holds
 */
public record MatmulShape(int rows, int outFeatures, int inFeatures, boolean floatOut, boolean bias, boolean accumulate) {
    public MatmulShape {
        if (rows < 1 || outFeatures < 1 || inFeatures < 1) {
            throw new IllegalArgumentException("no matrix product of " + rows + " x " + inFeatures + " by " + outFeatures + " x " + inFeatures);
        }
    }

    /** Names the shape in a file of timings. */
    String key() {
        return rows + "x" + outFeatures + "x" + inFeatures + (floatOut ? ",float" : ",bf16") + (bias ? ",bias" : "") + (accumulate ? ",accumulate" : "");
    }
}
