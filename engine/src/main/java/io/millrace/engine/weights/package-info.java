/**
 * Checkpoints on disk: safetensors files, single or sharded, memory-mapped and checked before a byte is used. The files are
 * untrusted: every parser here answers a malformed file with an {@link io.millrace.engine.EngineException} {@code ST-0xx} that names
 * file, tensor and values.
 *
 * <p>Public: {@link io.millrace.engine.weights.Checkpoint}, {@link io.millrace.engine.weights.SafetensorsFile},
 * {@link io.millrace.engine.weights.TensorInfo}, {@link io.millrace.engine.weights.StorageType}. Opened objects may be read by many
 * threads. This package must not know model families, backends or requests.
 */
package io.millrace.engine.weights;
