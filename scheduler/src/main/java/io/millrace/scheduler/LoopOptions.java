package io.millrace.scheduler;

import java.time.Duration;

/**
 * How the engine thread runs and is watched.
 *
 * @param stepTimeout work without a finished step for so long, and ten times the slowest step of late (which counts as one such timeout at
 *                    most), is a stall: it is reported, and three times as long ends the requests with an error
 * @param asyncScheduling whether the next step is planned and submitted while one runs, where the engine can
 * @param lastStep    beyond the grace of a shutdown: how long a step in progress may take to end
 */
public record LoopOptions(Duration stepTimeout, boolean asyncScheduling, Duration lastStep) {
    public LoopOptions {
        if (stepTimeout.isNegative() || stepTimeout.isZero() || lastStep.isNegative()) {
            throw new IllegalArgumentException("SCH-001: stepTimeout " + stepTimeout + " must be positive and lastStep " + lastStep
                    + " not negative");
        }
    }

    /** A minute for a step, half a minute for the last one, one step after the other. */
    public static LoopOptions defaults() {
        return new LoopOptions(Duration.ofSeconds(60), false, Duration.ofSeconds(30));
    }

    public LoopOptions withStepTimeout(Duration value) {
        return new LoopOptions(value, asyncScheduling, lastStep);
    }

    public LoopOptions withAsyncScheduling(boolean value) {
        return new LoopOptions(stepTimeout, value, lastStep);
    }

    LoopOptions withLastStep(Duration value) {
        return new LoopOptions(stepTimeout, asyncScheduling, value);
    }
}
