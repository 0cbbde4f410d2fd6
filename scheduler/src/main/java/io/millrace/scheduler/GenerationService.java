package io.millrace.scheduler;

import io.millrace.engine.EngineLimits;
import java.time.Duration;
import java.util.List;

/** What the server sees of scheduler and engine. Thread-safe; implemented by {@code EngineLoop}. */
public interface GenerationService extends AutoCloseable {
    /** @throws RejectedException if the request is not admitted */
    RequestHandle submit(GenerationRequest request);

    /** All or none: choices of one HTTP request. */
    List<RequestHandle> submitAll(List<GenerationRequest> requests);

    EngineLimits limits();

    /** A snapshot for health, dashboard and load reports. */
    Status status();

    /** What each tenant has in the house and has used, by number. */
    default List<TenantLoad> tenants() {
        return List.of();
    }

    /**
     * @param numInside  requests running and waiting
     * @param numTokens  prompt and output tokens since start
     * @param numRefused requests refused for the tenant's own limits
     */
    record TenantLoad(int numInside, long numTokens, long numRefused) {}

    /** Refuses new requests, lets running ones finish for at most {@code grace}, ends the rest, stops the engine thread. */
    void shutdown(Duration grace);

    @Override
    default void close() {
        shutdown(Duration.ZERO);
    }

    /**
     * @param alive             false once the engine failed or was shut down
     * @param accepting         false while draining
     * @param numSteps          steps executed since start: grows while there is work
     * @param stalledNanos      how long there has been work without a finished step; 0 when idle
     * @param failure           why the engine failed, or null
     * @param stall             why steps are taken to have stopped advancing, or null
     */
    record Status(boolean alive, boolean accepting, int numRunning, int numWaiting, int numFreeBlocks, int numBlocks, long numSteps,
            long stalledNanos, long numPreemptions, String failure, String stall) {}
}
