/**
 * The engine: loads a model and executes step plans on a backend.
 *
 * <p>Public: {@link io.millrace.engine.ModelLoader} makes a {@link io.millrace.engine.LoadedModel} from a folder and an
 * {@link io.millrace.engine.EngineConfig}; {@link io.millrace.engine.Engine} executes a {@link io.millrace.engine.StepPlan} over
 * {@link io.millrace.engine.Sequence}s and gives a {@link io.millrace.engine.StepResult}; {@link io.millrace.engine.TextGenerator}
 * generates without a scheduler; {@link io.millrace.engine.ForwardingEngine} and {@link io.millrace.engine.UnscoredResult} are for engines
 * around engines and without models; {@link io.millrace.engine.EngineException} carries the code of what went wrong. One thread, the engine
 * thread, calls an engine. This package must not know queues, policies or HTTP.
 */
package io.millrace.engine;
