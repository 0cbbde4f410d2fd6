/**
 * What a model is: its configuration, and its families written once in {@link io.millrace.kernels.Ops} for any backend. A family
 * binds a checkpoint's tensors by name and shape and describes the forward pass; it must not know which backend runs it, requests,
 * schedules or text.
 *
 * <p>Public: {@link io.millrace.engine.model.ModelConfig}, {@link io.millrace.engine.model.GenerationConfig},
 * {@link io.millrace.engine.model.ModelFamily}, {@link io.millrace.engine.model.DecoderModel},
 * {@link io.millrace.engine.model.WeightBinder}, {@link io.millrace.engine.model.RopeConfig}. Used by one thread, at start-up.
 */
package io.millrace.engine.model;
