package io.millrace.bindings;

import io.millrace.bindings.cpu.generated.MillraceCpu;
import io.millrace.bindings.cpu.generated.mr_cpu_info;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Objects;
import java.util.function.IntSupplier;

/**
 * Facade over {@code millrace_cpu.h}: loads the library, proves that both sides agree on the ABI, turns status codes into exceptions.
 * {@link #library()} may be asked at any time; every other method throws {@link IllegalStateException} with reason and remedy if the
 * library is not there.
 */
public final class CpuKernels {
    private CpuKernels() {}

    /** Loaded on first use. */
    private static final class Holder {
        static final NativeLibrary LIBRARY = checked(NativeLibrary.load("millrace_cpu"), MillraceCpu::mr_abi_version);
    }

    /** @param abiVersion asks the library; not called if it is not there */
    static NativeLibrary checked(NativeLibrary library, IntSupplier abiVersion) {
        if (!library.loaded()) {
            return library;
        }
        try {
            int version = abiVersion.getAsInt();
            return version == MillraceCpu.MR_ABI_VERSION() ? library
                    : misfit(library, "speaks ABI " + version + ", this program needs " + MillraceCpu.MR_ABI_VERSION());
        } catch (LinkageError | RuntimeException e) {
            // A library that lacks a symbol: binding its handle fails.
            Throwable cause = e.getCause() == null ? e : e.getCause();
            return misfit(library, "is not this program's library: " + cause.getMessage());
        }
    }

    private static NativeLibrary misfit(NativeLibrary library, String reason) {
        return new NativeLibrary(library.name(), library.path(), "NATIVE-004: " + library.path() + " " + reason
                + "; rebuild both together with ./mvnw clean package.");
    }

    /** The hot call. A class of its own: its handle must not be bound before the library is loaded. */
    private static final class Hot {
        static final MethodHandle PROGRAM_RUN = MillraceCpu.mr_program_run$handle();
    }

    /**
     * Loads the library, if that is possible, and binds what loading a model calls: each new kind of call costs some milliseconds. Any thread.
     */
    public static void warmUp() {
        if (library().loaded()) {
            MillraceCpu.mr_team_create$handle();
            MillraceCpu.mr_memory_allocate$handle();
            MillraceCpu.mr_memory_free$handle();
            MillraceCpu.mr_packed_weight_bytes$handle();
            MillraceCpu.mr_defer_weight$handle();
            MillraceCpu.mr_defer_rows$handle();
            MillraceCpu.mr_bytes_to_pack$handle();
            MillraceCpu.mr_pack_some$handle();
            MillraceCpu.mr_team_scratch_bytes$handle();
            MillraceCpu.mr_program_prepare$handle();
            MillraceCpu.mr_has_bf16_dot$handle();
            MillraceCpu.mr_isa_mask$handle();
            Objects.requireNonNull(Hot.PROGRAM_RUN);
        }
    }

    public static NativeLibrary library() {
        return Holder.LIBRARY;
    }

    /** What {@code mr_cpu_query} says of this machine; 0 where the system does not tell. */
    public record Info(int logicalCores, int bestIsa, long features, long l1dBytes, long l2Bytes, long l3Bytes) {}

    public static Info cpuInfo() {
        library().require();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment info = mr_cpu_info.allocate(arena);
            MillraceCpu.mr_cpu_query(info);
            return new Info(mr_cpu_info.logical_cores(info), mr_cpu_info.best_isa(info), mr_cpu_info.features(info),
                    mr_cpu_info.l1d_bytes(info), mr_cpu_info.l2_bytes(info), mr_cpu_info.l3_bytes(info));
        }
    }

    /** Bit {@code 1 << isa} for each {@code mr_isa} that this machine can run. */
    public static int isaMask() {
        library().require();
        return MillraceCpu.mr_isa_mask();
    }

    /**
     * Starts a thread team; end it with {@link #destroyTeam}.
     *
     * @param isa a {@code mr_isa}, -1 for the best one of this machine
     */
    public static MemorySegment createTeam(int threads, int isa) {
        library().require();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment status = arena.allocate(ValueLayout.JAVA_INT);
            MemorySegment team = MillraceCpu.mr_team_create(threads, isa, status);
            if (team.address() == 0) {
                throw new IllegalStateException("NATIVE-005: cannot start a team of " + threads + " threads (instruction set " + isa + "): "
                        + statusText(status.get(ValueLayout.JAVA_INT, 0)) + ". Set --threads to at most the number of cores, and unset MILLRACE_CPU_ISA");
            }
            return team;
        }
    }

    /**
     * Binds member {@code i} of the team to processor {@code cpus[i % length]}: workers for good, the caller for the time of each run.
     *
     * @throws IllegalArgumentException {@code NATIVE-008} if a processor is not there or not this process's, or the system has no such thing
     */
    public static void bindTeam(MemorySegment team, int[] cpus) {
        try (Arena arena = Arena.ofConfined()) {
            if (MillraceCpu.mr_team_bind(team, arena.allocateFrom(ValueLayout.JAVA_INT, cpus), cpus.length) != MillraceCpu.MR_OK()) {
                throw new IllegalArgumentException("NATIVE-008: " + MillraceCpu.mr_last_error(team).reinterpret(Long.MAX_VALUE).getString(0)
                        + ". Set --threads-bind to processors that 'taskset -p' allows, or to none");
            }
        }
    }

    public static void destroyTeam(MemorySegment team) {
        MillraceCpu.mr_team_destroy(team);
    }

    public static int teamIsa(MemorySegment team) {
        return MillraceCpu.mr_team_isa(team);
    }

    /** Which operation of its program the running thread is at; -1 if none runs. Any thread. */
    public static int position(MemorySegment team) {
        return MillraceCpu.mr_team_position(team);
    }

    public static long scratchBytes(MemorySegment team) {
        return MillraceCpu.mr_team_scratch_bytes(team);
    }

    /** Zeroed native memory that is freed when {@code arena} closes. */
    public static MemorySegment allocate(long bytes, Arena arena) {
        library().require();
        MemorySegment memory = MillraceCpu.mr_memory_allocate(bytes);
        if (memory.address() == 0) {
            throw new OutOfMemoryError("NATIVE-006: the system refused " + bytes + " bytes of native memory; use a smaller model, context or"
                    + " KV cache, or raise the memory limit");
        }
        try {
            return memory.reinterpret(bytes, arena, segment -> MillraceCpu.mr_memory_free(segment, bytes));
        } catch (RuntimeException | Error e) {
            // The arena is closed, or belongs to another thread.
            MillraceCpu.mr_memory_free(memory, bytes);
            throw e;
        }
    }

    /** Whether kernels of {@code isa} multiply BF16 by BF16 on this machine. */
    public static boolean hasBf16Dot(int isa) {
        library().require();
        return MillraceCpu.mr_has_bf16_dot(isa) != 0;
    }

    /** @param format a {@code mr_format} */
    public static long packedWeightBytes(long outFeatures, long inFeatures, int format) {
        library().require();
        return MillraceCpu.mr_packed_weight_bytes(outFeatures, inFeatures, format);
    }

    /** Packs rows {@code [first, first + rows)} of a weight, see {@code mr_pack_weight}. */
    public static void packWeight(MemorySegment team, MemorySegment out, long outFeatures, long inFeatures, int format, long first, long rows,
            MemorySegment source, int sourceFormat, int pairRows) {
        check(team, MillraceCpu.mr_pack_weight(team, out, outFeatures, inFeatures, format, first, rows, source, sourceFormat, pairRows));
    }

    /** Announces a weight that is packed later, see {@code mr_defer_weight}, and returns its number. */
    public static int deferWeight(MemorySegment team, MemorySegment out, long outFeatures, long inFeatures, int format) {
        int number = MillraceCpu.mr_defer_weight(team, out, outFeatures, inFeatures, format);
        if (number <= 0) {
            check(team, number);
        }
        return number;
    }

    /** Where rows of a deferred weight come from, see {@code mr_defer_rows}. */
    public static void deferRows(MemorySegment team, int weight, long first, long rows, MemorySegment source, int sourceFormat, int pairRows) {
        check(team, MillraceCpu.mr_defer_rows(team, weight, first, rows, source, sourceFormat, pairRows));
    }

    /** Packs deferred weights, about {@code bytes} at most, and returns {@link #bytesToPack}. */
    public static long packSome(MemorySegment team, long bytes) {
        return MillraceCpu.mr_pack_some(team, bytes);
    }

    /** Bytes of deferred weights that are not packed yet. */
    public static long bytesToPack(MemorySegment team) {
        return MillraceCpu.mr_bytes_to_pack(team);
    }

    /**
     * Rounds a row-major matrix to a block format, see {@code mr_quantize}.
     *
     * @return false if a value is not finite
     */
    public static boolean quantize(MemorySegment team, int format, int sourceType, MemorySegment source, long rows, long cols, MemorySegment out) {
        int status = MillraceCpu.mr_quantize(team, format, sourceType, source, rows, cols, out);
        if (status == MillraceCpu.MR_E_VALUE()) {
            return false;
        }
        check(team, status);
        return true;
    }

    public static void prepare(MemorySegment team, MemorySegment ops, int numOps, MemorySegment batch) {
        check(team, MillraceCpu.mr_program_prepare(team, ops, numOps, batch));
    }

    /** Runs one step. Allocates nothing; may take long, so this is an ordinary downcall, during which the collector can work. */
    public static void run(MemorySegment team, MemorySegment ops, int numOps, MemorySegment batch) {
        int status;
        try {
            status = (int) Hot.PROGRAM_RUN.invokeExact(team, ops, numOps, batch);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError("a downcall has no checked exceptions", e);
        }
        if (status != 0) {
            check(team, status);
        }
    }

    /**
     * What one run of a probe did.
     *
     * @param work bytes or operations
     */
    public record Probed(long work, long nanos) {}

    /**
     * Runs {@code items} portions of a probe on the team, see {@code mr_probe_run}.
     *
     * @param probe a {@code mr_probe}
     * @param data  the memory to read or copy; {@link MemorySegment#NULL} for products
     */
    public static Probed probe(MemorySegment team, int probe, MemorySegment data, long items) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(ValueLayout.JAVA_LONG, 2);
            check(team, MillraceCpu.mr_probe_run(team, probe, data, data.byteSize(), items, out, out.asSlice(Long.BYTES)));
            return new Probed(out.get(ValueLayout.JAVA_LONG, 0), out.get(ValueLayout.JAVA_LONG, Long.BYTES));
        }
    }

    private static void check(MemorySegment team, int status) {
        if (status != 0) {
            String text = MillraceCpu.mr_last_error(team).reinterpret(Long.MAX_VALUE).getString(0);
            throw new IllegalStateException("NATIVE-007: " + statusText(status) + ": " + text + ". This is a defect of the program; please report it");
        }
    }

    private static String statusText(int status) {
        return switch (status) {
            case -1 -> "an argument is out of range";
            case -2 -> "the system refused memory";
            case -3 -> "the system refused a thread";
            case -4 -> "this machine cannot run the requested instruction set";
            case -5 -> "token id out of range";
            case -6 -> "position out of range";
            case -7 -> "KV block out of range";
            case -8 -> "a weight is not finite";
            default -> "status " + status;
        };
    }
}
