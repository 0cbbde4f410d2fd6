package io.millrace.engine;

import io.millrace.engine.model.DecoderModel;
import io.millrace.engine.model.GenerationConfig;
import io.millrace.engine.model.ModelConfig;
import io.millrace.engine.model.ModelFamilies;
import io.millrace.engine.model.ModelFamily;
import io.millrace.engine.model.WeightBinder;
import io.millrace.engine.text.BrokenChatTemplate;
import io.millrace.engine.text.ChatTemplate;
import io.millrace.engine.text.HfTokenizer;
import io.millrace.engine.text.Tokenizer;
import io.millrace.engine.weights.QuantizationCache;
import io.millrace.engine.weights.QuantizedWeights;
import io.millrace.engine.weights.WeightSource;
import io.millrace.kernels.Arithmetic;
import io.millrace.kernels.Backend;
import io.millrace.kernels.Backends;
import io.millrace.kernels.BatchLimits;
import io.millrace.kernels.DeviceException;
import io.millrace.kernels.KvCacheType;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.KvCacheShape;
import io.millrace.kernels.QuantFormat;
import io.millrace.kernels.Quantizer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.stream.Collectors;

/**
 * Loads a model folder or file. Everything that can be refused is refused here, before the first request, with a code and the remedy; the
 * cheap checks come first, so that a wrong flag is known before gigabytes are read.
 *
 * <p>Errors: those of {@link ModelConfig}, {@link WeightSource}'s formats, {@link WeightBinder} and {@link MemoryPlan}; {@code CFG-001} a setting out of
 * range, {@code CFG-002} a maximum length beyond the model's, {@code CFG-003} a backend that cannot be used, {@code MEM-001} weights larger than memory,
 * {@code MEM-002} memory ran out all the same; {@code CUDA-001} to {@code CUDA-012} a GPU that cannot be used.
 */
public final class ModelLoader {
    private static final int DEFAULT_BATCHED_TOKENS = 512;
    /** Rows beyond one per sequence, so that scoring a prompt does not take one step per token. */
    private static final int SCORING_ROWS = 128;
    private static final int MIN_SCORING_ROWS = 16;
    /** What all logit rows together may take: at 128k ids a row is half a megabyte. */
    private static final long LOGIT_BYTES = 256L << 20;

    /** What one native team can have ({@code MR_MAX_THREADS}). */
    private static final int MAX_THREADS = 1024;

    private ModelLoader() {}

    /**
     * Loads native libraries ahead of {@link #load}, which otherwise does so. Any thread; what cannot be loaded is told there.
     *
     * @param gguf whether the model is a GGUF file: most have a vocabulary that needs no library
     */
    public static void warmUp(boolean gguf) {
        Backends.warmUp();
        if (!gguf) {
            HfTokenizer.warmUp();
        }
    }

    /** An engine without its text side, and what to say about it. */
    private record Bound(String name, ModelEngine engine, LoadedModel.GenerationDefaults defaults, List<String> report, WeightSource weights) {
        /** The source is no longer needed but by the engine. */
        ModelEngine own(ModelSource source) {
            engine.own(() -> {
                weights.close();
                source.close();
            });
            return engine;
        }

        /** Of both, where something else has failed. */
        void close() {
            engine.close();
            weights.close();
        }
    }

    /** The same for tests, to be closed. */
    record LoadedEngine(ModelEngine engine, LoadedModel.GenerationDefaults defaults, List<String> report) {}

    /** {@link System#nanoTime} at the ends of the phases so far. */
    private static final class Stopwatch {
        private final List<LoadedModel.Phase> phases = new ArrayList<>();
        private long since = System.nanoTime();

        void end(String phase) {
            long now = System.nanoTime();
            phases.add(new LoadedModel.Phase(phase, Duration.ofNanos(now - since), false));
            since = now;
        }
    }

    /**
     * Loads weights, tokenizer and chat template of {@code path}, a folder in the Hugging Face layout or a {@code .gguf} file; the caller closes the result.
     *
     * @throws EngineException if anything about the model, the settings or the machine does not fit
     */
    public static LoadedModel load(Path path, EngineConfig settings) {
        Stopwatch watch = new Stopwatch();
        ModelSource source = ModelSource.of(path);
        try {
            watch.end("header");
            return load(source, settings, watch);
        } catch (RuntimeException | Error e) {
            source.close();
            throw e;
        }
    }

    private static LoadedModel load(ModelSource source, EngineConfig settings, Stopwatch watch) {
        // The tokenizer's native library and vocabulary take as long as a small model's weights: load both at once.
        FutureTask<TextSide> textTask = new FutureTask<>(() -> loadText(source));
        Thread.ofPlatform().daemon().name("millrace-load-text").start(textTask);
        Bound loaded;
        try {
            loaded = bind(source, settings, watch);
        } catch (RuntimeException | Error e) {
            closeQuietly(textTask);
            throw e;
        }
        try {
            TextSide text = await(textTask);
            List<String> report = new ArrayList<>(loaded.report());
            report.add(1, String.format(Locale.ROOT, "text     tokenizer of %,d ids, %s", text.tokenizer().vocabSize(),
                    text.template().isEmpty() ? "no chat template: chat requests will be refused"
                            : text.template().get() instanceof BrokenChatTemplate ? "broken chat template: chat requests will be refused" : "chat template"));
            report.addAll(2, warnings(text, loaded.engine().limits().vocabSize()));
            watch.phases.add(new LoadedModel.Phase("tokenizer", text.took(), true));
            return new LoadedModel(loaded.name(), loaded.own(source), text.tokenizer(), text.template(), loaded.defaults(), List.copyOf(report),
                    List.copyOf(watch.phases));
        } catch (RuntimeException | Error e) {
            loaded.close();
            closeQuietly(textTask);
            throw e;
        }
    }

    /** What is wrong with the model's text side and yet leaves it of use. */
    private static List<String> warnings(TextSide text, int vocabSize) {
        List<String> lines = new ArrayList<>();
        if (text.template().orElse(null) instanceof BrokenChatTemplate broken) {
            lines.add("warning  TPL-002: " + broken.reason());
        }
        if (text.tokenizer().vocabSize() > vocabSize) {
            lines.add("warning  TOK-006: the tokenizer's ids [" + vocabSize + ", " + text.tokenizer().vocabSize() + ") have no row in the model's"
                    + " embedding of " + vocabSize + "; prompts that use one are refused. Tokenizer and weights may be of different models");
        }
        return lines;
    }

    private record TextSide(Tokenizer tokenizer, Optional<ChatTemplate> template, Duration took) {}

    private static TextSide loadText(ModelSource source) {
        long start = System.nanoTime();
        Tokenizer tokenizer = source.tokenizer();
        try {
            Optional<ChatTemplate> template = source.chatTemplate();
            return new TextSide(tokenizer, template, Duration.ofNanos(System.nanoTime() - start));
        } catch (RuntimeException | Error e) {
            tokenizer.close();
            throw e;
        }
    }

    private static TextSide await(FutureTask<TextSide> task) {
        try {
            return task.get();
        } catch (ExecutionException e) {
            if (e.getCause() instanceof EngineException cause) {
                throw cause;
            }
            throw new EngineException("TOK-000", "the tokenizer or chat template cannot be loaded: " + e.getCause(), e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new EngineException("TOK-000", "interrupted while loading the tokenizer", e);
        }
    }

    private static void closeQuietly(FutureTask<TextSide> task) {
        try {
            task.get().tokenizer().close();
        } catch (ExecutionException e) {
            // It holds nothing then; the first failure is the one to report.
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    static LoadedEngine loadEngine(Path path, EngineConfig settings) {
        ModelSource source = ModelSource.of(path);
        try {
            Bound bound = bind(source, settings, new Stopwatch());
            return new LoadedEngine(bound.own(source), bound.defaults(), bound.report());
        } catch (RuntimeException | Error e) {
            source.close();
            throw e;
        }
    }

    private static Bound bind(ModelSource source, EngineConfig asked, Stopwatch watch) {
        try {
            Backends.Choice choice = asked.backend().equals("auto") ? Backends.auto() : new Backends.Choice(asked.backend(), null);
            boolean gpu = choice.name().equals("cuda");
            return bind(source, asked.withBackend(choice.name()).withUtilizationOf(gpu), choice, gpu, watch);
        } catch (DeviceException e) {
            throw new EngineException(e.code(), e.getMessage().substring(e.code().length() + 2), e);
        }
    }

    private static Bound bind(ModelSource source, EngineConfig settings, Backends.Choice choice, boolean gpu, Stopwatch watch) {
        ModelConfig config = source.config();
        GenerationConfig generation = source.generation(config);
        ModelFamily family = ModelFamilies.of(config);
        checkSettings(settings, config);
        int maxModelLen = settings.maxModelLen() > 0 ? settings.maxModelLen() : config.contextLength();
        int batchedTokens = settings.maxNumBatchedTokens() > 0 ? settings.maxNumBatchedTokens()
                : Math.max(DEFAULT_BATCHED_TOKENS, settings.maxNumSeqs());
        int logprobs = Math.min(settings.maxLogprobs(), config.vocabSize());
        int logitRows = logitRows(settings.maxNumSeqs(), config.vocabSize());
        BatchLimits batch = new BatchLimits(batchedTokens, settings.maxNumSeqs(), Math.ceilDiv(maxModelLen, settings.blockSize()),
                logitRows, logprobs);
        int threads = settings.threads() > 0 ? settings.threads()
                : Math.min(MAX_THREADS, Runtime.getRuntime().availableProcessors());
        String name = source.name();
        WeightSource stored = source.weights(config);
        try {
            QuantFormat rounded = quantization(settings);
            double tables = 4.0 * config.ropeElementsPerPosition() + 4.0 * settings.maxNumSeqs() / settings.blockSize();
            double narrowest = narrowestBytes(settings.kvCacheDtype());
            double perPosition = config.kvElementsPerToken() * narrowest + tables;
            double activations = family.activationBytes(config, batchedTokens, logitRows);
            MachineMemory host = gpu ? null : MachineMemory.read();
            if (!gpu) {
                MemoryPlan.checkBeforeLoading(host, settings, weightBytes(stored, rounded), perPosition, maxModelLen, activations);
            }
            watch.end("config");
            Backend backend = createBackend(settings, batch, threads);
            watch.end("threads");
            MachineMemory machine = gpu ? new MachineMemory(backend.deviceSpace().freeBytes(), backend.deviceSpace().source()) : host;
            try (Weights checkpoint = Weights.of(stored, rounded, settings, backend)) {
                if (gpu) {
                    // Of the activations only the logits are floats there.
                    MemoryPlan.checkBeforeLoading(machine, settings, bfloat16Bytes(stored), perPosition, maxModelLen, activations / 2);
                }
                WeightBinder weights = new WeightBinder(checkpoint.source(), backend, true);
                DecoderModel model = family.bind(config, weights, maxModelLen);
                watch.end("weights");
                KvCacheType kvType = kvType(settings, model);
                KvCacheShape one = model.kvCacheShape(1, settings.blockSize(), kvType);
                long blockBytes = blockBytes(backend, one);
                MemoryPlan memory = MemoryPlan.of(machine, settings, heldBytes(backend, model, one, gpu), one, blockBytes, maxModelLen);
                KvCache cache = backend.kvCache(memory.cache());
                EngineLimits limits = new EngineLimits(config.vocabSize(), maxModelLen, settings.maxNumSeqs(), batchedTokens, logitRows, logprobs,
                        memory.cache().numBlocks(), settings.blockSize(), generation.eosTokenIds());
                ModelEngine engine = new ModelEngine(backend, model, cache, limits);
                watch.end("program");
                return new Bound(name, engine, generation.defaults(), report(name, settings, config, checkpoint, weights, model, backend,
                        choice, limits, memory), stored);
            } catch (OutOfMemoryError e) {
                backend.close();
                throw outOfMemory(e);
            } catch (RuntimeException | Error e) {
                backend.close();
                throw e;
            }
        } catch (RuntimeException | Error e) {
            stored.close();
            throw e;
        }
    }

    /** What the backend holds before its cache is made: on a GPU also what the model's program needs beside its tensors. */
    private static Map<String, Long> heldBytes(Backend backend, DecoderModel model, KvCacheShape one, boolean gpu) {
        if (gpu) {
            KvCache rehearsal = backend.kvCache(one);
            backend.reserve(ops -> {
                model.forward(ops, rehearsal);
                ops.sample(model.logits());
            });
        }
        Map<String, Long> held = new LinkedHashMap<>(backend.memoryBytes());
        held.remove("kv_cache");
        return held;
    }

    private static long blockBytes(Backend backend, KvCacheShape one) {
        try {
            return backend.kvCacheBytes(one);
        } catch (IllegalArgumentException e) {
            throw new EngineException("CFG-003", "the backend " + backend.name() + " cannot be used: " + e.getMessage(), e);
        }
    }

    /** Bytes of all tensors as BF16. */
    private static long bfloat16Bytes(WeightSource stored) {
        return stored.names().stream().mapToLong(name -> stored.tensor(name).map(tensor -> 2 * tensor.numElements()).orElse(0L)).sum();
    }

    /** What {@code --quantization} asks for, null for nothing. */
    private static QuantFormat quantization(EngineConfig settings) {
        if (!List.of("none", "model", "user").contains(settings.quantizationCache())) {
            throw new EngineException("CFG-001", "--quantization-cache is '" + settings.quantizationCache() + "'; supported: none, model, user");
        }
        return switch (settings.quantization()) {
            case "none" -> null;
            case "q8_0" -> QuantFormat.Q8_0;
            case "q4_0" -> QuantFormat.Q4_0;
            case "q4_k" -> QuantFormat.Q4_K;
            default -> throw new EngineException("CFG-001", "--quantization is '" + settings.quantization() + "'; supported: none, q8_0, q4_0, q4_k");
        };
    }

    /** Bytes of weights at the height of loading: rounded ones wait beside those that are packed already. */
    private static long weightBytes(WeightSource stored, QuantFormat rounded) {
        if (rounded == null) {
            return stored.byteSize();
        }
        try (QuantizedWeights weights = QuantizedWeights.of(stored, rounded, Quantizer::quantize)) {
            return weights.byteSize() + weights.scratchBytes();
        }
    }

    /** The weights as the model binds them, and what to say about a cache of theirs. Closes only what it made itself. */
    private record Weights(WeightSource source, QuantizedWeights own, List<String> remarks) implements AutoCloseable {
        static Weights of(WeightSource stored, QuantFormat rounded, EngineConfig settings, Backend backend) {
            if (rounded == null) {
                return new Weights(stored, null, List.of());
            }
            QuantizedWeights weights = QuantizedWeights.of(stored, rounded, backend::quantize);
            List<String> remarks = settings.quantizationCache().equals("none") ? List.of()
                    : QuantizationCache.use(weights, settings.quantizationCache().equals("model") ? QuantizationCache.Place.MODEL : QuantizationCache.Place.USER);
            return new Weights(weights, weights, remarks);
        }

        @Override
        public void close() {
            if (own != null) {
                own.close();
            }
        }
    }

    private static EngineException outOfMemory(OutOfMemoryError e) {
        return new EngineException("MEM-002", "memory ran out while the model was loaded (" + e.getMessage() + "); ask for less with"
                + " --max-num-batched-tokens, --max-num-seqs, --max-model-len or --memory-utilization, or give the process more memory", e);
    }

    private static Backend createBackend(EngineConfig settings, BatchLimits batch, int threads) {
        if (settings.backend().equals("cuda") && !settings.quantization().equals("none")) {
            throw new EngineException("CFG-003", "--backend cuda has no kernels for quantised weights yet, and --quantization is "
                    + settings.quantization() + "; leave it out, or serve from the CPU with --backend cpu");
        }
        try {
            return Backends.create(settings.backend(), batch, threads, arithmetic(settings.dtype()), settings.threadsBind(), settings.cudaDriver());
        } catch (OutOfMemoryError e) {
            throw outOfMemory(e);
        } catch (IllegalArgumentException | IllegalStateException e) {
            throw new EngineException("CFG-003", "--backend " + settings.backend() + " cannot be used: " + e.getMessage(), e);
        }
    }

    private static void checkSettings(EngineConfig settings, ModelConfig config) {
        inRange("--max-num-seqs", settings.maxNumSeqs(), 1, 65_536);
        inRange("--block-size", settings.blockSize(), 1, 4096);
        inRange("--max-logprobs", settings.maxLogprobs(), 0, 1000);
        inRange("--max-model-len", settings.maxModelLen(), 0, Integer.MAX_VALUE);
        inRange("--num-gpu-blocks-override", settings.numKvBlocks(), 0, Integer.MAX_VALUE);
        inRange("--threads", settings.threads(), 0, MAX_THREADS);
        if (settings.maxNumBatchedTokens() != 0) {
            inRange("--max-num-batched-tokens", settings.maxNumBatchedTokens(), settings.maxNumSeqs(), 1 << 20);
        }
        if (!(settings.memoryUtilization() > 0 && settings.memoryUtilization() <= 1)) {
            throw new EngineException("CFG-001", "--memory-utilization is " + settings.memoryUtilization() + "; a share in (0, 1] is needed");
        }
        if (settings.kvCacheMemoryBytes() < 0) {
            throw new EngineException("CFG-001", "--kv-cache-memory-bytes is " + settings.kvCacheMemoryBytes() + "; 0 means automatic");
        }
        if (settings.maxModelLen() > config.contextLength()) {
            throw new EngineException("CFG-002", "--max-model-len " + settings.maxModelLen() + " is beyond the " + config.contextLength()
                    + " positions the model was made for (max_position_embeddings in " + config.file() + "); ask for at most that");
        }
    }

    private static void inRange(String flag, int value, int low, int high) {
        if (value < low || value > high) {
            throw new EngineException("CFG-001", flag + " is " + value + "; a value in [" + low + ", " + high + "] is needed");
        }
    }

    private static int logitRows(int maxNumSeqs, int vocabSize) {
        long affordable = LOGIT_BYTES / (4L * vocabSize) - maxNumSeqs;
        return maxNumSeqs + (int) Math.clamp(affordable, MIN_SCORING_ROWS, SCORING_ROWS);
    }

    private static Arithmetic arithmetic(String dtype) {
        return switch (dtype) {
            case "auto" -> Arithmetic.AUTO;
            case "bfloat16" -> Arithmetic.BF16;
            case "float16", "float32" -> Arithmetic.EXACT;
            default -> throw new EngineException("CFG-001", "--dtype is '" + dtype + "'; supported: auto, bfloat16, float16, float32");
        };
    }

    /** Bytes that an element of the KV cache takes at least: its type may follow that of weights not yet seen. */
    private static double narrowestBytes(String kvCacheDtype) {
        return switch (kvCacheDtype) {
            case "float32" -> 4;
            case "q8_0" -> 1 + 2.0 / KvCacheType.SCALE_BLOCK;
            default -> 2;
        };
    }

    private static KvCacheType kvType(EngineConfig settings, DecoderModel model) {
        String asked = settings.kvCacheDtype();
        if (asked.equals("auto")) {
            return KvCacheType.of(model.weightType());
        }
        return Arrays.stream(KvCacheType.values()).filter(type -> type.label().equals(asked)).findFirst()
                .orElseThrow(() -> new EngineException("CFG-001", "--kv-cache-dtype is '" + asked + "'; supported: auto, "
                        + String.join(", ", KvCacheType.labels())));
    }

    private static List<String> report(String name, EngineConfig settings, ModelConfig config, Weights checkpoint, WeightBinder weights,
            DecoderModel model, Backend backend, Backends.Choice choice, EngineLimits limits, MemoryPlan memory) {
        List<String> lines = new ArrayList<>();
        lines.add(String.format(Locale.ROOT, "model    %s: %s, %,d parameters, %s, %d layers, vocabulary %,d, context %,d", name,
                config.architecture(), weights.numParameters(),
                model.weightFormats().stream().map(Object::toString).collect(Collectors.joining(" and ")), config.numLayers(), config.vocabSize(),
                limits.maxModelLen()));
        Set<String> unused = weights.unbound();
        lines.add("weights  " + checkpoint.source().description() + ", " + checkpoint.source().names().size() + " tensors"
                + (unused.isEmpty() ? ", all used" : ", not used by this architecture: " + unused.stream().limit(4).toList()
                        + (unused.size() > 4 ? " and " + (unused.size() - 4) + " more" : "")));
        lines.addAll(checkpoint.remarks());
        lines.add("backend  " + backend.description() + (choice.reason() == null ? "" : " (" + choice.reason() + ")"));
        lines.add("dtype    " + settings.dtype() + ": " + backend.arithmetic());
        lines.add("kv       " + memory.cache().dtype().label() + (settings.kvCacheDtype().equals("auto") ? ": auto takes the type of the weights"
                + (model.weightFormats().stream().anyMatch(QuantFormat.class::isInstance) ? ", and float16 where they are quantised" : "") : ", as asked for"));
        lines.add(String.format(Locale.ROOT, "limits   %,d sequences and %,d tokens a step", limits.maxNumSeqs(),
                limits.maxNumBatchedTokens()));
        lines.add("memory");
        lines.addAll(memory.lines());
        return List.copyOf(lines);
    }
}
