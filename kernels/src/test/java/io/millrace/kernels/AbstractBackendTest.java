package io.millrace.kernels;

/**
 * The suite that every backend passes: subclass it and say how to make one. Expected values are computed by the tests themselves,
 * in double, from the definitions; no backend is compared with another. Sizes lie off the edges of tiles and vectors, inputs have
 * outliers, outputs are filled with NaN beforehand, so that a cell that is not written, or written beyond the rows of the step, is
 * seen. All of it is seeded: a failure comes again.
 */
public abstract class AbstractBackendTest
        implements DenseOpsProperties, QuantizedProperties, AttentionProperties, SamplingProperties, SamplingEdgeProperties,
        BackendProperties {}
