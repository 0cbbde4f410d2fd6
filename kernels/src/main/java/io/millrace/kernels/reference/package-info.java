/**
 * The scalar Java backend: every operation written as plainly as its definition allows, with sums in double. It is the oracle that
 * other backends are measured against and the text to read when in doubt about what an operation means. Not fast, and not meant
 * to be.
 *
 * <p>Public: {@link io.millrace.kernels.reference.ReferenceBackend}. Used by one thread at a time.
 */
package io.millrace.kernels.reference;
