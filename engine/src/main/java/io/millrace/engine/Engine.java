package io.millrace.engine;

import java.util.Optional;

/**
 * Executes step plans. All methods but {@link #limits()} are called from one thread, the engine thread.
 *
 * <p>{@link #execute} throws {@link EngineException} if the step could not be computed; afterwards only
 * {@link #end} and {@link #close} may be called.
 */
public interface Engine extends AutoCloseable {
    EngineLimits limits();

    /** Type of the stored keys and values as {@code --kv-cache-dtype} names it; {@code auto} if the engine stores none. Any thread. */
    default String kvCacheDtype() {
        return "auto";
    }

    /** What its steps move and compute; empty if the engine has no model. Any thread. */
    default Optional<ModelWork> work() {
        return Optional.empty();
    }

    /** Prepares what sampling of {@code sequence} needs. Called once, before its first step. */
    void begin(Sequence sequence);

    /** Releases what {@link #begin} made. Called once, after its last step; harmless for a sequence never begun. */
    void end(Sequence sequence);

    /** Runs the plan and returns its outputs, valid until the next call. */
    StepResult execute(StepPlan plan);

    /** Where the step in progress is, for people; null if there is none or it is not known. Any thread. */
    default String position() {
        return null;
    }

    @Override
    void close();
}
