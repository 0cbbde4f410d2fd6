package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.kernels.DType;
import io.millrace.kernels.KvCacheShape;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The KV cache takes what is left of the budget, never more than can be used, never less than one sequence. */
class MemoryPlanTest {
    /** 2 * 10 layers * 16 tokens * 4 heads * 64 * 2 bytes. */
    private static final KvCacheShape ONE = new KvCacheShape(10, 1, 16, 4, 64, DType.BF16);
    private static final long BLOCK = 163_840;
    private static final Map<String, Long> HELD = Map.of("weights", 80_000_000L, "activations", 20_000_000L);

    @TempDir
    Path root;

    private static MachineMemory machine(long bytes) {
        return new MachineMemory(bytes, "test");
    }

    /** 3 sequences of 100 tokens. */
    private static EngineConfig withBytes(long kvCacheMemoryBytes) {
        return EngineConfig.defaults().withLimits(100, 3, 0).withKvCacheMemory(kvCacheMemoryBytes);
    }

    /** Property: blocks = (share of available - held) / block bytes. */
    @Test
    void blocksFillTheBudget() {
        EngineConfig config = EngineConfig.defaults().withLimits(4096, 256, 0);
        MemoryPlan plan = MemoryPlan.of(machine(400_000_000), config, HELD, ONE, 4096);
        assertThat(ONE.blockBytes()).isEqualTo(BLOCK);
        assertThat(plan.cache().numBlocks()).isEqualTo((int) (100_000_000 / BLOCK));
        assertThat(plan.lines()).anyMatch(line -> line.contains("610 blocks of 16 tokens") && line.contains("10240 bytes per token"));
    }

    /** Property: no more blocks than all sequences at full length could use. */
    @Test
    void noMoreThanCanBeUsed() {
        EngineConfig config = EngineConfig.defaults().withLimits(100, 3, 0);
        assertThat(MemoryPlan.of(machine(1L << 40), config, HELD, ONE, 100).cache().numBlocks()).isEqualTo(3 * 7);
    }

    /** Property: a cache too small for one sequence is refused with the numbers and the length that would fit. */
    @Test
    void oneSequenceMustFit() {
        EngineConfig config = EngineConfig.defaults().withLimits(131_072, 4, 0);
        assertThatThrownBy(() -> MemoryPlan.of(machine(400_000_000), config, HELD, ONE, 131_072)).isInstanceOf(EngineException.class)
                .hasMessageStartingWith("KV-001:").hasMessageContaining("8192 KV blocks (1.25 GiB").hasMessageContaining("--max-model-len to 9760");
        assertThatThrownBy(() -> MemoryPlan.of(machine(150_000_000), config, HELD, ONE, 131_072)).hasMessageStartingWith("KV-001:")
                .hasMessageContaining("Give more memory");
    }

    /** Property: where the buffers of a step take the memory, their flags are the remedy, before and after loading. */
    @Test
    void smallerStepsAreTheRemedyWhereActivationsDominate() {
        EngineConfig config = EngineConfig.defaults().withLimits(4096, 4, 0);
        Map<String, Long> held = Map.of("weights", 10_000_000L, "activations", 150_000_000L);
        assertThatThrownBy(() -> MemoryPlan.of(machine(400_000_000), config, held, ONE, 4096)).hasMessageStartingWith("KV-001:")
                .hasMessageContainingAll("--max-num-batched-tokens", "--max-num-seqs");
        assertThatThrownBy(() -> MemoryPlan.of(machine(250_000_000), config, HELD, ONE, 4096)).hasMessageStartingWith("KV-001:")
                .satisfies(e -> assertThat(e.getMessage()).doesNotContain("--max-num-batched-tokens"));
        MemoryPlan.checkBeforeLoading(machine(400_000_000), config, 10_000_000, 10_240, 4096, 140_000_000);
        assertThatThrownBy(() -> MemoryPlan.checkBeforeLoading(machine(400_000_000), config, 10_000_000, 10_240, 4096, 1e9))
                .hasMessageStartingWith("KV-001:").hasMessageContainingAll("954 MiB for activations", "--max-num-batched-tokens");
    }

    /** Property: a size in bytes is an upper bound; where less is of use, the report says so, and a size beyond memory is refused as asked. */
    @Test
    void sizeInBytes() {
        EngineConfig config = withBytes(BLOCK * 1000);
        MemoryPlan plan = MemoryPlan.of(machine(400_000_000), config, HELD, ONE, 100);
        assertThat(plan.cache().numBlocks()).isEqualTo(3 * 7);
        assertThat(plan.lines()).contains("  156 MiB asked for; 3.28 MiB is all that 3 sequences of 100 tokens can use");
        assertThatThrownBy(() -> MemoryPlan.of(machine(400_000_000), withBytes(100L << 30), HELD, ONE, 100))
                .isInstanceOf(EngineException.class).hasMessageStartingWith("KV-002:").hasMessageContaining("100 GiB");
    }

    /** Property: what is asked for outright is made exactly so, or refused if it is not there. */
    @Test
    void explicitSizes() {
        EngineConfig config = EngineConfig.defaults().withLimits(64, 4, 0);
        assertThat(MemoryPlan.of(machine(400_000_000), config.withKvCache("auto", 9), HELD, ONE, 64).cache().numBlocks()).isEqualTo(9);
        assertThatThrownBy(() -> MemoryPlan.of(machine(400_000_000), config.withKvCache("auto", 5000), HELD, ONE, 64))
                .isInstanceOf(EngineException.class).hasMessageStartingWith("KV-002:");
        // 2^31 blocks of 2^34 bytes are more than a long counts.
        KvCacheShape huge = new KvCacheShape(1024, 1, 4096, 512, 1024, DType.F32);
        assertThatThrownBy(() -> MemoryPlan.of(machine(1L << 45), config.withKvCache("auto", Integer.MAX_VALUE), HELD, huge, 64))
                .isInstanceOf(EngineException.class).hasMessageStartingWith("KV-002:");
    }

    /** Property: a cgroup v2 limit of any ancestor cuts the machine's figure; reclaimable file cache counts as free. */
    @Test
    void cgroupV2() throws IOException {
        file("proc/meminfo", "MemTotal: 64000000 kB\nMemAvailable:   32000000 kB\n");
        file("proc/self/cgroup", "0::/pod/container\n");
        file("cg/pod/memory.max", "2000000000\n");
        file("cg/pod/memory.current", "900000000\n");
        file("cg/pod/memory.stat", "anon 1\ninactive_file 400000000\n");
        file("cg/pod/container/memory.max", "max\n");
        MachineMemory memory = MachineMemory.read(root.resolve("proc"), root.resolve("cg"));
        assertThat(memory.availableBytes()).isEqualTo(1_500_000_000L);
        assertThat(memory.source()).isEqualTo("cgroup v2 limit of 1.86 GiB");
    }

    /** Property: the same for v1; a v1 group without limit is none. */
    @Test
    void cgroupV1() throws IOException {
        file("proc/meminfo", "MemAvailable:   32000000 kB\n");
        file("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n");
        file("cg/memory/memory.limit_in_bytes", "9223372036854771712\n");
        file("cg/memory/docker/abc/memory.limit_in_bytes", "1000000000\n");
        file("cg/memory/docker/abc/memory.usage_in_bytes", "300000000\n");
        MachineMemory memory = MachineMemory.read(root.resolve("proc"), root.resolve("cg"));
        assertThat(memory.availableBytes()).isEqualTo(700_000_000L);
    }

    /** Property: inside a container whose group path is not mounted, the visible root's limit holds; without limits the machine's figure does. */
    @Test
    void hiddenGroupPath() throws IOException {
        file("proc/meminfo", "MemAvailable:   32000000 kB\n");
        file("proc/self/cgroup", "0::/kubepods/deep/hidden\n");
        assertThat(MachineMemory.read(root.resolve("proc"), root.resolve("cg")).availableBytes()).isEqualTo(32_000_000L * 1024);
        file("cg/memory.max", "1000\n");
        file("cg/memory.current", "400\n");
        assertThat(MachineMemory.read(root.resolve("proc"), root.resolve("cg")).availableBytes()).isEqualTo(600);
    }

    private void file(String path, String text) throws IOException {
        Path file = root.resolve(path);
        Files.createDirectories(file.getParent());
        Files.writeString(file, text);
    }
}
