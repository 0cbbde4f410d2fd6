/**
 * What the server knows of itself while it runs: metrics, the pulses of every rank, and rolling rates. A leaf of the module graph:
 * it takes numbers and knows nothing of models, requests, queues or HTTP.
 *
 * <p>Public types:
 * <ul>
 * <li>{@link io.millrace.telemetry.MetricRegistry}: makes metrics, writes the Prometheus text for {@code /metrics}; any thread
 * <li>{@link io.millrace.telemetry.ServingMetrics}: requests, tokens and steps under vLLM's names, plus {@code millrace_*}; written
 *     by the engine thread (rejections by any), allocates nothing
 * <li>{@link io.millrace.telemetry.RequestOutcome}: how a request ended
 * <li>{@link io.millrace.telemetry.HttpMetrics}: connections, requests, streamed bytes; any thread
 * <li>{@link io.millrace.telemetry.ProcessMetrics}: CPU, memory and start time of the process, read when scraped
 * <li>{@link io.millrace.telemetry.PulseRing}, {@link io.millrace.telemetry.PulseField}, {@link io.millrace.telemetry.ShardPulse},
 *     {@link io.millrace.telemetry.PulseReader}: one fixed-size record per step and rank; one writer that never waits, any readers
 * <li>{@link io.millrace.telemetry.ThreadTimes}: CPU time and run-queue wait of one thread
 * <li>{@link io.millrace.telemetry.StepWindow}: rates over the last ten seconds, for a log line and the dashboard
 * </ul>
 */
package io.millrace.telemetry;
