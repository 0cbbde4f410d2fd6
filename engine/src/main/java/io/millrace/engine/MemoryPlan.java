package io.millrace.engine;

import io.millrace.kernels.KvCacheShape;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * How many KV blocks fit, and where every byte of native memory goes. Blocks are what is left of the budget after weights and
 * workspace; at least one sequence of full length must fit, and no more are made than all sequences at full length could use.
 *
 * <p>Errors: {@code KV-001} not even one sequence fits, {@code KV-002} a size asked for outright is more than there is.
 */
final class MemoryPlan {
    private final MachineMemory machine;
    private final EngineConfig config;
    private final long budgetBytes;
    private final Map<String, Long> heldBytes;
    private final KvCacheShape cache;
    private final long blockBytes;
    private final int maxModelLen;

    private MemoryPlan(MachineMemory machine, EngineConfig config, long budgetBytes, Map<String, Long> heldBytes, KvCacheShape cache, long blockBytes,
            int maxModelLen) {
        this.machine = machine;
        this.config = config;
        this.budgetBytes = budgetBytes;
        this.heldBytes = heldBytes;
        this.cache = cache;
        this.blockBytes = blockBytes;
        this.maxModelLen = maxModelLen;
    }

    /**
     * @param machine   as read before anything was loaded
     * @param heldBytes what the backend holds by kind, weights and workspace
     * @param one       the model's cache of one block
     */
    static MemoryPlan of(MachineMemory machine, EngineConfig config, Map<String, Long> heldBytes, KvCacheShape one, int maxModelLen) {
        return of(machine, config, heldBytes, one, one.blockBytes(), maxModelLen);
    }

    /** @param blockBytes what a block takes on this backend, which may be more than its shape says */
    static MemoryPlan of(MachineMemory machine, EngineConfig config, Map<String, Long> heldBytes, KvCacheShape one, long blockBytes, int maxModelLen) {
        long held = heldBytes.values().stream().mapToLong(Long::longValue).sum();
        long budget = (long) (machine.availableBytes() * config.memoryUtilization());
        long blocksPerSequence = Math.ceilDiv(maxModelLen, one.blockSize());
        long usefulBlocks = Math.min(blocksPerSequence * config.maxNumSeqs(), Integer.MAX_VALUE / one.blockSize());
        long left = machine.availableBytes() - held;
        long blocks;
        String asked;
        if (config.numKvBlocks() > 0) {
            blocks = config.numKvBlocks();
            asked = "the " + blocks + " KV blocks asked for";
        } else if (config.kvCacheMemoryBytes() > 0) {
            if (config.kvCacheMemoryBytes() > left) {
                throw new EngineException("KV-002", "--kv-cache-memory-bytes asks for " + bytes(config.kvCacheMemoryBytes())
                        + ", but after weights and workspace of " + bytes(held) + " only " + bytes(Math.max(0, left)) + " of memory are left ("
                        + machine.source() + "); ask for less");
            }
            blocks = Math.min(config.kvCacheMemoryBytes() / blockBytes, usefulBlocks);
            asked = "the KV cache of " + bytes(config.kvCacheMemoryBytes()) + " asked for";
        } else {
            blocks = Math.min(Math.max(0, budget - held) / blockBytes, usefulBlocks);
            asked = "--memory-utilization " + config.memoryUtilization() + " of " + bytes(machine.availableBytes()) + " (" + machine.source() + "), less "
                    + bytes(held) + " for weights and workspace,";
        }
        if (blocks < blocksPerSequence) {
            long fits = blocks * one.blockSize();
            throw new EngineException("KV-001", "one sequence of " + maxModelLen + " tokens needs " + blocksPerSequence + " KV blocks ("
                    + bytes(product(blocksPerSequence, blockBytes)) + " as " + one.dtype() + "), but " + asked + " gives " + blocks + " (" + fits
                    + " tokens). " + smallerSteps(heldBytes.getOrDefault("activations", 0L), heldBytes.getOrDefault("weights", 0L)) + (fits > 0 ? "Set --max-model-len to " + fits + " or less, or give more memory" : "Give more memory")
                    + " with --memory-utilization or --kv-cache-memory-bytes" + (config.numKvBlocks() > 0 ? ", or more blocks" : ""));
        }
        if (blocks > Math.max(0, left) / blockBytes) {
            throw new EngineException("KV-002", asked + " take " + bytes(product(blocks, blockBytes)) + ", but after weights and workspace of " + bytes(held)
                    + " only " + bytes(Math.max(0, left)) + " of memory are left (" + machine.source() + "); ask for less");
        }
        KvCacheShape cache = new KvCacheShape(one.numLayers(), (int) blocks, one.blockSize(), one.numKvHeads(), one.headDim(), one.dtype());
        return new MemoryPlan(machine, config, budget, heldBytes, cache, blockBytes, maxModelLen);
    }

    /**
     * The check that needs no weights: refuses what cannot fit by any reckoning, before anything large is read or allocated. The exact one is
     * {@link #of}.
     *
     * @param checkpointBytes  all tensors as stored
     * @param activationBytes  buffers of one step
     * @param bytesPerPosition least that each position of the context costs: keys and values of one sequence, rope and block tables
     */
    static void checkBeforeLoading(MachineMemory machine, EngineConfig config, long checkpointBytes, double bytesPerPosition, int maxModelLen,
            double activationBytes) {
        if (checkpointBytes > machine.availableBytes()) {
            throw new EngineException("MEM-001", "the weights take " + bytes(checkpointBytes) + ", but only " + bytes(machine.availableBytes())
                    + " of memory are available (" + machine.source() + "); use a smaller model or give more memory");
        }
        double share = config.numKvBlocks() > 0 || config.kvCacheMemoryBytes() > 0 ? 1 : config.memoryUtilization();
        double left = Math.max(0, machine.availableBytes() * share - checkpointBytes - activationBytes);
        if (bytesPerPosition * maxModelLen > left) {
            long fits = (long) (left / bytesPerPosition) / config.blockSize() * config.blockSize();
            throw new EngineException("KV-001", "one sequence of " + maxModelLen + " tokens needs " + bytes((long) (bytesPerPosition * maxModelLen))
                    + " for its KV cache and tables, but " + (share == 1 ? "all" : "--memory-utilization " + share) + " of " + bytes(machine.availableBytes()) + " (" + machine.source()
                    + "), less " + bytes(checkpointBytes) + " for weights and " + bytes((long) activationBytes) + " for activations, leaves " + bytes((long) left)
                    + ". " + smallerSteps(activationBytes, checkpointBytes) + (fits > 0 ? "Set --max-model-len to " + fits + " or less, or give more memory with --memory-utilization" : "Give more memory"));
        }
    }

    KvCacheShape cache() {
        return cache;
    }

    private long cacheBytes() {
        return blockBytes * cache.numBlocks();
    }

    /** One line per kind of memory, in MiB and in bytes, right-aligned; the lines above the total add up to it. */
    List<String> lines() {
        List<String> lines = new ArrayList<>();
        lines.add(line("available", machine.availableBytes(), machine.source()));
        lines.add(line("budget", budgetBytes, percent(config.memoryUtilization()) + " of available"));
        long total = 0;
        for (Map.Entry<String, Long> entry : new java.util.TreeMap<>(heldBytes).entrySet()) {
            if (entry.getValue() > 0) {
                lines.add(line(entry.getKey().replace('_', ' '), entry.getValue(), ""));
                total += entry.getValue();
            }
        }
        long sequences = (long) cache.numBlocks() * cache.blockSize() / maxModelLen;
        lines.add(line("kv cache", cacheBytes(), String.format(Locale.ROOT, "%,d", cache.numBlocks()) + " blocks of " + cache.blockSize() + " tokens, " + cache.dtype() + ", "
                + blockBytes / cache.blockSize() + " bytes per token; " + sequences + " x " + maxModelLen + " tokens"));
        if (config.numKvBlocks() == 0 && config.kvCacheMemoryBytes() - cacheBytes() >= blockBytes) {
            lines.add("  " + bytes(config.kvCacheMemoryBytes()) + " asked for; " + bytes(cacheBytes()) + " is all that "
                    + config.maxNumSeqs() + " sequences of " + String.format(Locale.ROOT, "%,d", maxModelLen) + " tokens can use");
        }
        lines.add(line("total", total + cacheBytes(), ""));
        return lines;
    }

    private static String line(String what, long value, String note) {
        return String.format(Locale.ROOT, "  %-12s %9s  %18s%s", what, bytes(value), String.format(Locale.ROOT, "(%,d bytes)", value), note.isEmpty() ? "" : "  " + note);
    }

    /** The remedy where the buffers of a step, not the model, are what takes the memory. */
    private static String smallerSteps(double activationBytes, double weightBytes) {
        return activationBytes <= weightBytes ? "" : "Most of it goes to activations: lower --max-num-batched-tokens or --max-num-seqs. ";
    }

    /** For messages: a size beyond a long is one that nobody has. */
    private static long product(long a, long b) {
        return Math.multiplyHigh(a, b) == 0 && a * b >= 0 ? a * b : Long.MAX_VALUE;
    }

    private static String percent(double share) {
        return String.format(Locale.ROOT, "%.0f %%", share * 100);
    }

    /** {@code 1.5 GiB}: three figures for people. */
    static String bytes(long value) {
        String[] units = {"bytes", "KiB", "MiB", "GiB", "TiB"};
        double scaled = value;
        int unit = 0;
        while (scaled >= 1024 && unit < units.length - 1) {
            scaled /= 1024;
            unit++;
        }
        return unit == 0 ? value + " bytes" : String.format(Locale.ROOT, scaled < 10 ? "%.2f %s" : scaled < 100 ? "%.1f %s" : "%.0f %s", scaled,
                units[unit]);
    }
}
