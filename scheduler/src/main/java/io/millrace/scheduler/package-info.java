/**
 * Which tokens of which requests are computed in the next step, and who gets them afterwards.
 *
 * <p><b>For the modules above:</b> {@link io.millrace.scheduler.EngineLoop} (start it over an engine; it implements
 * {@link io.millrace.scheduler.GenerationService}), {@link io.millrace.scheduler.GenerationRequest} with its
 * {@link io.millrace.scheduler.TokenSink}, {@link io.millrace.scheduler.RequestHandle},
 * {@link io.millrace.scheduler.SchedulerConfig}, {@link io.millrace.scheduler.RejectedException}, and for metrics
 * {@link io.millrace.scheduler.SchedulerListener} with {@link io.millrace.scheduler.StepStats} and
 * {@link io.millrace.scheduler.RequestTimeline}.
 *
 * <p><b>Inside:</b> {@code EngineLoop} runs the one thread; {@code CommandQueue} is the way in; {@code Admission} refuses early, with {@code TenantAccounts};
 * {@code QueueOrder} is the policy;
 * {@code Scheduler} is three calls over its parts: {@code Planner} with its {@code StepBudget} builds a {@code PlannedStep},
 * {@code Settler} takes outputs in, {@code Lifecycle} moves requests between {@code WaitingQueue}, running {@code RequestList} and end,
 * {@code KvAllocator} gives blocks of the {@code BlockPool}; {@code RequestState} is one request;
 * {@code RequestEvents} fences other people's code; {@code Progress} is what other threads may read; {@code Watchdog} sees that
 * steps advance, and through {@code StandIn} may stand in for an engine thread that is stuck in the engine or in a sink.
 *
 * <p><b>Threading.</b> One engine thread owns all scheduler state. Others hand over through the lock-free {@code CommandQueue} and read
 * {@code Progress}; nothing here takes a lock
 * but to look at a sink that does not return. Sinks and listeners are called on the engine thread and must return at once.
 *
 * <p><b>Allocation.</b> Per request, never per step: a sequence's token array doubles now and then, and that is all.
 *
 * <p><b>Must not know:</b> device memory, logits, model names, text, HTTP.
 */
package io.millrace.scheduler;
