package io.millrace.kernels.cpu;

import io.millrace.bindings.CpuKernels;
import io.millrace.bindings.cpu.generated.MillraceCpu;
import io.millrace.kernels.Arithmetic;
import io.millrace.kernels.Backend;
import io.millrace.kernels.Batch;
import io.millrace.kernels.BatchLimits;
import io.millrace.kernels.DType;
import io.millrace.kernels.Extent;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.KvCacheShape;
import io.millrace.kernels.OpChecks;
import io.millrace.kernels.Ops;
import io.millrace.kernels.Program;
import io.millrace.kernels.QuantFormat;
import io.millrace.kernels.Quantizer;
import io.millrace.kernels.RowFiller;
import io.millrace.kernels.Tensor;
import io.millrace.kernels.Weight;
import io.millrace.kernels.WeightFormat;
import io.millrace.kernels.WeightPart;
import io.millrace.kernels.cpu.NativeWeight.Piece;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Consumer;

/**
 * The native CPU backend. One arena owns all memory, one native thread team runs the programs; the calling thread is a member of the
 * team. Weights are repacked into column tiles when they are taken over, so that the same kernel serves one row and hundreds.
 */
public final class NativeCpuBackend implements Backend {
    private static final long ALIGNMENT = 64;

    private final BatchLimits limits;
    private final int threads;
    private final CpuIsa isa;
    private final boolean forced;
    private final Arithmetic arithmetic;
    private final boolean bf16Products;
    private final Arena arena = Arena.ofShared();
    private final NativeMemory allocator = new NativeMemory(arena);
    private final MemorySegment team;
    private final Batch[] batches;
    private final MemorySegment[] nativeBatches;
    /** Elements that lost bits when they were taken over, by the format they had. */
    private final Map<WeightFormat, Long> roundedWeights = new LinkedHashMap<>();
    /** Of the weights that were taken over. */
    private boolean anyQuantised;
    private boolean anyPaired;
    private boolean anyExact;
    private List<Integer> bound = List.of();
    private final List<PositionTable> positionTables = new ArrayList<>();
    private long weightBytes;
    private long constantBytes;
    private long activationBytes;
    private long kvCacheBytes;

    private NativeCpuBackend(BatchLimits limits, int threads, CpuIsa isa, boolean forced, Arithmetic arithmetic) {
        this.limits = limits;
        this.threads = threads;
        this.isa = isa;
        this.forced = forced;
        this.arithmetic = arithmetic;
        boolean possible = CpuKernels.hasBf16Dot(isa.ordinal());
        if (arithmetic == Arithmetic.BF16 && !possible) {
            throw OpChecks.noBf16Products("cpu", isa.label() + " on this machine multiplies no BF16 numbers (AVX512_BF16)");
        }
        this.bf16Products = arithmetic != Arithmetic.EXACT && possible;
        // Nothing is in the arena yet: if this fails there is nothing to free.
        this.team = CpuKernels.createTeam(threads, isa.ordinal());
        try {
            this.batches = new Batch[] {new Batch(limits, arena), new Batch(limits, arena)};
            this.nativeBatches = new MemorySegment[] {NativeBatch.describe(batches[0], batches[1], arena),
                NativeBatch.describe(batches[1], batches[0], arena)};
        } catch (RuntimeException | Error e) {
            CpuKernels.destroyTeam(team);
            arena.close();
            throw e;
        }
    }

    /** {@link #create(BatchLimits, int, Arithmetic)} with exact products. */
    public static NativeCpuBackend create(BatchLimits limits, int threads) {
        return create(limits, threads, Arithmetic.EXACT);
    }

    /**
     * A backend with the instruction set that {@code MILLRACE_CPU_ISA} names, else the best one of this machine.
     *
     * @param threads members of the team, the caller's thread included; at most one per core is wise
     * @throws IllegalStateException {@code NATIVE-...} with reason and remedy if the native library cannot be used
     */
    public static NativeCpuBackend create(BatchLimits limits, int threads, Arithmetic arithmetic) {
        CpuKernels.library().require();
        return new NativeCpuBackend(limits, threads, CpuIsa.chosen(), CpuIsa.forced(), arithmetic);
    }

    /** A backend with a given instruction set. */
    public static NativeCpuBackend create(BatchLimits limits, int threads, CpuIsa isa) {
        return create(limits, threads, isa, Arithmetic.EXACT);
    }

    /** A backend with a given instruction set. */
    public static NativeCpuBackend create(BatchLimits limits, int threads, CpuIsa isa, Arithmetic arithmetic) {
        CpuKernels.library().require();
        return new NativeCpuBackend(limits, threads, isa, true, arithmetic);
    }

    /** Binds the threads of the team to processors: thread {@code i} to {@code cpus[i % length]}. Without any, nothing changes. */
    public NativeCpuBackend bindThreads(int... cpus) {
        requireOpen();
        if (cpus.length > 0) {
            CpuKernels.bindTeam(team, cpus);
            bound = Arrays.stream(cpus).limit(threads).boxed().toList();
        }
        return this;
    }

    /** Whether factors may be rounded to BF16 for the sake of the processor's dot products. */
    boolean bf16Products() {
        return bf16Products;
    }

    @Override
    public String name() {
        return "cpu";
    }

    @Override
    public String description() {
        return "cpu: native kernels, " + isa.label() + (forced ? " (chosen by hand)" : " (best of this machine)") + ", " + threads
                + (threads == 1 ? " thread" : " threads")
                + (bound.isEmpty() ? "" : " bound to processors " + bound);
    }

    @Override
    public String arithmetic() {
        return plainArithmetic() + (anyQuantised ? "; quantised weights meet activations rounded to 8 bits, whatever --dtype says" : "");
    }

    private String plainArithmetic() {
        if (!bf16Products) {
            return arithmetic == Arithmetic.EXACT ? "exact float32 products" : "exact float32 products: " + isa.label()
                    + " on this machine multiplies no bfloat16 numbers";
        }
        if (anyExact && !anyPaired) {
            return "exact float32 products of weights that are float32; --dtype bfloat16 rounds them";
        }
        List<String> rounded = new ArrayList<>();
        roundedWeights.forEach((format, elements) -> rounded.add(String.format(Locale.ROOT, "%,d weights of %s", elements, format)));
        return "bfloat16 products (AVX512_BF16), sums in float32" + (rounded.isEmpty() ? "" : "; " + String.join(" and ", rounded)
                + " rounded to bfloat16, --dtype float32 keeps them as they are");
    }

    @Override
    public Batch batch(int slot) {
        return batches[slot];
    }

    @Override
    public Tensor activations(String name, Extent extent, long cols) {
        requireOpen();
        OpChecks.activations(name, cols);
        long rows = OpChecks.capacity(name, extent, limits);
        MemorySegment data = allocate(rows * cols * DType.F32.bytes());
        activationBytes += data.byteSize();
        return new Tensor(name, DType.F32, extent, rows, cols, data);
    }

    @Override
    public Tensor constant(String name, long rows, long cols, float[] values) {
        requireOpen();
        OpChecks.constant(name, rows, cols, values);
        MemorySegment data = allocate(rows * cols * DType.F32.bytes());
        MemorySegment.copy(values, 0, data, ValueLayout.JAVA_FLOAT, 0, values.length);
        constantBytes += data.byteSize();
        return new Tensor(name, DType.F32, Extent.FIXED, rows, cols, data);
    }

    @Override
    public Tensor constant(String name, long rows, long cols, RowFiller filler) {
        requireOpen();
        OpChecks.constant(name, rows, cols);
        MemorySegment data = allocate(rows * cols * DType.F32.bytes());
        filler.fillAll(data, rows, (int) cols);
        constantBytes += data.byteSize();
        return new Tensor(name, DType.F32, Extent.FIXED, rows, cols, data);
    }

    @Override
    public Tensor positionTable(String name, long positions, long cols, RowFiller filler) {
        requireOpen();
        OpChecks.constant(name, positions, cols);
        MemorySegment data = allocate(positions * cols * DType.F32.bytes());
        constantBytes += data.byteSize();
        positionTables.add(new PositionTable(data, positions, Math.toIntExact(cols), filler));
        return new Tensor(name, DType.F32, Extent.FIXED, positions, cols, data);
    }

    @Override
    public Weight weight(String name, WeightPart... parts) {
        return weight(name, false, parts);
    }

    @Override
    public Weight borrowedWeight(String name, WeightPart... parts) {
        return weight(name, Arrays.stream(parts).allMatch(part -> part.data().isNative()), parts);
    }

    private Weight weight(String name, boolean later, WeightPart... parts) {
        requireOpen();
        OpChecks.parts(name, parts);
        long inFeatures = parts[0].cols();
        long outFeatures = 0;
        long bytes = 0;
        List<Piece> pieces = new ArrayList<>();
        for (int begin = 0, end; begin < parts.length; begin = end) {
            end = begin + 1;
            while (end < parts.length && parts[end].format() == parts[begin].format()) {
                end++;
            }
            Piece piece = pack(Arrays.asList(parts).subList(begin, end), inFeatures, later);
            pieces.add(piece);
            outFeatures += piece.outFeatures();
            bytes += piece.packed().byteSize();
        }
        weightBytes += bytes;
        List<WeightFormat> formats = Arrays.stream(parts).map(WeightPart::format).distinct().toList();
        return new NativeWeight(this, name, formats, outFeatures, inFeatures, NativeWeight.chain(pieces, inFeatures, arena),
                NativeWeight.products(pieces, inFeatures), bytes);
    }

    /** Parts of one format as one piece, now or later. */
    private Piece pack(List<WeightPart> parts, long inFeatures, boolean later) {
        WeightFormat format = parts.getFirst().format();
        int code = packedFormat(format);
        anyQuantised |= format instanceof QuantFormat;
        anyPaired |= code == MillraceCpu.MR_FORMAT_BF16_PAIRS();
        anyExact |= code != MillraceCpu.MR_FORMAT_BF16_PAIRS() && !(format instanceof QuantFormat);
        long outFeatures = parts.stream().mapToLong(WeightPart::rows).sum();
        MemorySegment packed = allocate(CpuKernels.packedWeightBytes(outFeatures, inFeatures, code));
        int deferred = later ? CpuKernels.deferWeight(team, packed, outFeatures, inFeatures, code) : 0;
        long first = 0;
        for (WeightPart part : parts) {
            if (later) {
                CpuKernels.deferRows(team, deferred, first, part.rows(), part.data(), format.nativeCode(), part.pairRows());
            } else {
                CpuKernels.packWeight(team, packed, outFeatures, inFeatures, code, first, part.rows(), nativeCopy(part.data()),
                        format.nativeCode(), part.pairRows());
            }
            first += part.rows();
            if (code == MillraceCpu.MR_FORMAT_BF16_PAIRS() && format != DType.BF16) {
                roundedWeights.merge(format, part.rows() * inFeatures, Long::sum);
            }
        }
        return new Piece(code, outFeatures, packed, deferred);
    }

    @Override
    public long bytesToPack() {
        return arena.scope().isAlive() ? CpuKernels.bytesToPack(team) : 0;
    }

    @Override
    public long packSome(long bytes) {
        requireOpen();
        return CpuKernels.packSome(team, bytes);
    }

    private int packedFormat(WeightFormat format) {
        boolean paired = bf16Products && (format == DType.BF16 || format == DType.F16 || format == DType.F32 && arithmetic == Arithmetic.BF16);
        return paired ? MillraceCpu.MR_FORMAT_BF16_PAIRS() : format.nativeCode();
    }

    @Override
    public WeightPart quantize(WeightPart source, QuantFormat format, Arena memory) {
        requireOpen();
        DType dtype = Quantizer.check(source, format);
        long bytes = format.byteSize(source.rows(), source.cols());
        MemorySegment data = bytes >= NativeMemory.LARGE ? CpuKernels.allocate(bytes, memory) : memory.allocate(bytes, ALIGNMENT);
        if (!CpuKernels.quantize(team, format.nativeCode(), dtype.nativeCode(), nativeCopy(source.data()), source.rows(), source.cols(), data)) {
            Quantizer.requireFinite(source);
        }
        return new WeightPart(source.name(), format, source.rows(), source.cols(), data, source.pairRows());
    }

    /** Heap segments have no address; they occur in tests only. */
    private MemorySegment nativeCopy(MemorySegment data) {
        return data.isNative() ? data : Arena.ofAuto().allocate(data.byteSize(), ALIGNMENT).copyFrom(data);
    }

    @Override
    public KvCache kvCache(KvCacheShape shape) {
        requireOpen();
        OpChecks.kvCache(shape);
        long half = shape.byteSize() / 2;
        kvCacheBytes += shape.byteSize();
        return new NativeKvCache(this, shape, allocate(half), allocate(half));
    }

    @Override
    public Program record(Consumer<Ops> forward) {
        requireOpen();
        NativeRecorder recorder = new NativeRecorder(this, arena.scope());
        forward.accept(recorder);
        NativeProgram program = new NativeProgram(this, recorder.names(), recorder.write(arena));
        CpuKernels.prepare(team, program.ops(), program.numOps(), nativeBatches[0]);
        return program;
    }

    @Override
    public void run(Program program, int slot) {
        if (!(program instanceof NativeProgram own) || own.owner() != this) {
            throw OpChecks.foreign("run", "program", program, name());
        }
        requireOpen();
        int positions = positionTables.isEmpty() ? 0 : batches[slot].maxContextLen();
        for (int i = 0; i < positionTables.size(); i++) {
            positionTables.get(i).reach(positions);
        }
        CpuKernels.run(team, own.ops(), own.numOps(), nativeBatches[slot]);
    }

    @Override
    public String position(Program program) {
        int at = arena.scope().isAlive() ? CpuKernels.position(team) : -1;
        return at < 0 || at >= program.numOps() ? null : "operation " + at + " of " + program.numOps() + " (" + program.opNames().get(at) + ")";
    }

    @Override
    public Map<String, Long> memoryBytes() {
        // The team's memory is gone with the team: asking for its size would read it.
        requireOpen();
        Map<String, Long> bytes = new LinkedHashMap<>();
        bytes.put("weights", weightBytes);
        bytes.put("constants", constantBytes);
        bytes.put("activations", activationBytes + CpuKernels.scratchBytes(team));
        bytes.put("kv_cache", kvCacheBytes);
        bytes.put("batch", batches[0].byteSize() + batches[1].byteSize());
        return bytes;
    }

    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            CpuKernels.destroyTeam(team);
            arena.close();
        }
    }

    private void requireOpen() {
        if (!arena.scope().isAlive()) {
            throw OpChecks.closed(name());
        }
    }

    private MemorySegment allocate(long bytes) {
        return allocator.allocate(bytes);
    }
}
