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

    /**
     * Bytes of weights that loading has left where they lie in the model's file: steps work all the same, at first more slowly, and bring them
     * over bit by bit. Any thread.
     */
    default long bytesToPack() {
        return 0;
    }

    /** Brings some of them over, for about ten milliseconds. Not while submitted steps are under way. @return whether there are more */
    default boolean packSome() {
        return false;
    }

    /** Brings all of them over: for measurements. */
    default void packAll() {
        while (packSome()) {
            // One slice after the other.
        }
    }

    /** Prepares what sampling of {@code sequence} needs. Called once, before its first step. */
    void begin(Sequence sequence);

    /** Releases what {@link #begin} made. Called once, after its last step; harmless for a sequence never begun. */
    void end(Sequence sequence);

    /** Runs the plan and returns its outputs, valid until the next call. Not while submitted steps are under way. */
    StepResult execute(StepPlan plan);

    /**
     * Steps that may be submitted and not awaited yet. 1: only {@link #execute} is there. 2: the next step can be planned and submitted
     * while one runs, and take tokens from it that nobody knows yet ({@link StepPlan#source}).
     */
    default int maxStepsInFlight() {
        return 1;
    }

    /**
     * Hands a step over, to be run when those before it are done. The plan and its sequences' known tokens are read before this returns;
     * until the step has been awaited, no sequence of it may be ended.
     *
     * @return the ticket to {@link #await} it with
     */
    default long submit(StepPlan plan) {
        throw new UnsupportedOperationException("ENG-001: this engine runs one step at a time");
    }

    /**
     * Waits for a submitted step, the oldest not awaited yet. Its outputs are valid until the second submit after it.
     *
     * @throws EngineException if it or one before it could not be computed
     */
    default StepResult await(long ticket) {
        throw new UnsupportedOperationException("ENG-001: this engine runs one step at a time");
    }

    /** Of the thread that runs submitted steps; -1 if none has been submitted. Engine thread. */
    default long runnerThreadId() {
        return -1;
    }

    /** Where the step in progress is, for people; null if there is none or it is not known. Any thread. */
    default String position() {
        return null;
    }

    @Override
    void close();
}
