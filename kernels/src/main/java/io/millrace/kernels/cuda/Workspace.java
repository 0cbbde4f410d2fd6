package io.millrace.kernels.cuda;

import io.millrace.bindings.cuda.CudaDriver;
import io.millrace.bindings.cuda.generated.MillraceCuda;
import io.millrace.bindings.cuda.generated.mr_decode_item;
import io.millrace.bindings.cuda.generated.mr_prefill_tile;
import io.millrace.kernels.BatchLimits;
import java.util.HashMap;
import java.util.Map;

/** Buffers that programs share, each made when a program first needs it. Steps run one after the other, so one of each will do. */
final class Workspace {
    /** A part of a context that is split in decode has at least so many pages, */
    static final int MIN_SPLIT_PAGES = 8;
    /** and there are at most so many parts: 8 KV heads of one sequence then keep some 256 blocks busy. */
    static final int MAX_SPLITS = 32;

    private final CudaDriver driver;
    private final DeviceMemory memory;
    private final BatchLimits limits;
    private final CudaBatches batches;
    private final long stream;
    private final Map<Integer, Long> queries = new HashMap<>();
    private final Map<PlanKey, Plan> plans = new HashMap<>();
    private final Map<Long, Partials> partials = new HashMap<>();
    private final Map<Integer, Sampling> samplings = new HashMap<>();
    private long bytes;

    Workspace(CudaDriver driver, DeviceMemory memory, BatchLimits limits, CudaBatches batches, long stream) {
        this.driver = driver;
        this.memory = memory;
        this.limits = limits;
        this.batches = batches;
        this.stream = stream;
    }

    long byteSize() {
        return bytes;
    }

    /** What work lists follow from. */
    record PlanKey(int group, int slidingWindow) {}

    record Plan(long items, long tiles, long counts) {}

    /** @param arrivals zero between launches */
    record Partials(long out, long softmax, long arrivals) {}

    record Sampling(long work, long occurrences, SamplingLists lists) {}

    /** Rotated and scaled queries, BF16 {@code [tokens, width]}. */
    long queries(int width) {
        return queries.computeIfAbsent(width, w -> allocate(2L * limits.maxTokens() * w));
    }

    /** Parts of all sequences at most. */
    int maxItems() {
        return limits.maxSequences() * Math.min(MAX_SPLITS, Math.ceilDiv(limits.maxBlocksPerSequence(), MIN_SPLIT_PAGES));
    }

    Plan plan(PlanKey key) {
        return plans.computeIfAbsent(key, k -> {
            long tiles = limits.maxSequences() + (long) limits.maxTokens() * k.group() / MillraceCuda.MR_CUDA_QUERY_TILE();
            return new Plan(allocate(mr_decode_item.sizeof() * maxItems()), allocate(mr_prefill_tile.sizeof() * tiles), allocate(8));
        });
    }

    Partials partials(int numHeads, int numKvHeads, int width) {
        int tiles = numKvHeads * Math.ceilDiv(numHeads / numKvHeads, MillraceCuda.MR_CUDA_HEAD_TILE());
        return partials.computeIfAbsent(((long) numHeads << 32) + ((long) tiles << 12) + width, key -> new Partials(
                allocate(4L * maxItems() * numHeads * width), allocate(8L * maxItems() * numHeads), allocate(4L * limits.maxTokens() * tiles)));
    }

    Sampling sampling(int vocab) {
        return samplings.computeIfAbsent(vocab, v -> {
            SamplingLists lists = new SamplingLists(driver, memory, batches.batch(0), v, stream);
            bytes += lists.byteSize();
            return new Sampling(allocate(4L * limits.maxLogitRows() * v), allocate(4L * limits.maxLogitRows() * v), lists);
        });
    }

    private long allocate(long size) {
        bytes += size;
        return memory.allocate(size);
    }
}
