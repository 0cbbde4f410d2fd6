package io.millrace.kernels.cuda;

import io.millrace.bindings.cuda.KernelLaunch;
import io.millrace.bindings.cuda.generated.MillraceCuda;
import io.millrace.bindings.cuda.generated.mr_add_params;
import io.millrace.bindings.cuda.generated.mr_add_rms_norm_params;
import io.millrace.bindings.cuda.generated.mr_attention_plan_params;
import io.millrace.bindings.cuda.generated.mr_embed_params;
import io.millrace.bindings.cuda.generated.mr_gate_params;
import io.millrace.bindings.cuda.generated.mr_gather_params;
import io.millrace.bindings.cuda.generated.mr_paged_decode_params;
import io.millrace.bindings.cuda.generated.mr_paged_prefill_params;
import io.millrace.bindings.cuda.generated.mr_qkv_post_params;
import io.millrace.bindings.cuda.generated.mr_sample_params;
import io.millrace.bindings.cuda.generated.mr_soft_cap_params;
import io.millrace.kernels.AttentionShape;
import io.millrace.kernels.Batch;
import io.millrace.kernels.Extent;
import io.millrace.kernels.SamplingRows;
import io.millrace.kernels.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Makes launches of ops: kernels chosen, parameters written. Work lists of attention are made once per step for all layers that share them. */
final class LaunchList {
    private static final double LOG2_E = 1.4426950408889634;
    /** Columns that a block of an element-wise kernel takes. */
    private static final int BLOCK_COLS = 2048;
    private static final int SOFT_CAP_COLS = 1024;
    private static final int HEADS_PER_BLOCK = 4;

    private final CudaKernels kernels;
    private final CudaBatches batches;
    private final Workspace workspace;
    private final Gemm gemm;
    private final Arena arena;
    private final long stream;
    private final int multiprocessors;
    private final List<CudaLaunch> launches = new ArrayList<>();
    private final Set<Workspace.PlanKey> planned = new HashSet<>();

    LaunchList(CudaKernels kernels, CudaBatches batches, Workspace workspace, Gemm gemm, Arena arena, long stream, int multiprocessors) {
        this.kernels = kernels;
        this.batches = batches;
        this.workspace = workspace;
        this.gemm = gemm;
        this.arena = arena;
        this.stream = stream;
        this.multiprocessors = multiprocessors;
    }

    CudaLaunch[] of(List<CudaOp> ops) {
        for (CudaOp op : ops) {
            switch (op) {
                case CudaOp.Embed embed -> add(embed);
                case CudaOp.Norm norm -> add(norm);
                case CudaOp.Add add -> add(add);
                case CudaOp.Linear linear -> launches.add(gemm.linear(linear));
                case CudaOp.RopeAndCache rope -> add(rope);
                case CudaOp.Attention attention -> add(attention);
                case CudaOp.Gate gate -> add(gate);
                case CudaOp.SoftCap cap -> add(cap);
                case CudaOp.Gather gather -> add(gather);
                case CudaOp.Sample sample -> add(sample);
            }
        }
        return launches.toArray(new CudaLaunch[0]);
    }

    static MemorySegment pointer(long address) {
        return MemorySegment.ofAddress(address);
    }

    /** Of a tensor, or of none. */
    static MemorySegment pointer(Tensor tensor) {
        return tensor == null ? MemorySegment.NULL : tensor.data();
    }

    /** Where the device finds a step's rows of an extent. */
    static MemorySegment rows(CudaBatches batches, Extent extent) {
        return pointer(batches.address(batches.batch(0).counts) + (extent == Extent.LOGIT_ROWS ? 8 : 0));
    }

    private MemorySegment rows(Extent extent) {
        return rows(batches, extent);
    }

    private MemorySegment device(MemorySegment array) {
        return pointer(batches.address(array));
    }

    private Batch batch() {
        return batches.batch(0);
    }

    private KernelLaunch launch(CudaKernel kernel, long parameterBytes) {
        return kernels.launch(arena, kernel, parameterBytes, stream);
    }

    private void add(CudaOp.Embed op) {
        KernelLaunch launch = launch(CudaKernel.EMBED, mr_embed_params.sizeof());
        MemorySegment p = launch.parameters();
        mr_embed_params.table(p, pointer(op.table().address()));
        mr_embed_params.token_ids(p, device(batch().tokenIds));
        mr_embed_params.token_source(p, device(batch().tokenSource));
        mr_embed_params.previous_token(p, pointer(batches.previousToken()));
        mr_embed_params.out(p, op.out().data());
        mr_embed_params.rows(p, rows(op.out().extent()));
        mr_embed_params.fault(p, pointer(batches.fault()));
        mr_embed_params.vocab(p, Math.toIntExact(op.table().outFeatures()));
        mr_embed_params.hidden(p, op.table().stride());
        mr_embed_params.scale(p, op.scale());
        mr_embed_params.previous_rows(p, batch().maxLogitRows());
        launches.add(CudaLaunch.ofRows(launch, op.out().extent(), 1));
    }

    private void add(CudaOp.Norm op) {
        int cols = Widths.stride(op.residual());
        CudaKernel kernel = cols <= BLOCK_COLS ? CudaKernel.ADD_RMS_NORM_1 : cols <= 2 * BLOCK_COLS ? CudaKernel.ADD_RMS_NORM_2
                : cols <= 4 * BLOCK_COLS ? CudaKernel.ADD_RMS_NORM_4 : CudaKernel.ADD_RMS_NORM_8;
        KernelLaunch launch = launch(kernel, mr_add_rms_norm_params.sizeof());
        MemorySegment p = launch.parameters();
        mr_add_rms_norm_params.residual(p, op.residual().data());
        mr_add_rms_norm_params.delta(p, pointer(op.delta()));
        mr_add_rms_norm_params.weight(p, op.weight().data());
        mr_add_rms_norm_params.out(p, op.out().data());
        mr_add_rms_norm_params.rows(p, rows(op.out().extent()));
        mr_add_rms_norm_params.cols(p, cols);
        mr_add_rms_norm_params.eps(p, op.eps());
        mr_add_rms_norm_params.width(p, Math.toIntExact(op.residual().cols()));
        launches.add(CudaLaunch.ofRows(launch, op.out().extent(), 1));
    }

    private void add(CudaOp.Add op) {
        KernelLaunch launch = launch(CudaKernel.ADD, mr_add_params.sizeof());
        MemorySegment p = launch.parameters();
        int cols = Widths.stride(op.residual());
        mr_add_params.residual(p, op.residual().data());
        mr_add_params.delta(p, op.delta().data());
        mr_add_params.rows(p, rows(op.residual().extent()));
        mr_add_params.cols(p, cols);
        launches.add(CudaLaunch.ofRows(launch, op.residual().extent(), Math.ceilDiv(cols, BLOCK_COLS)));
    }

    private void add(CudaOp.Gate op) {
        KernelLaunch launch = launch(op.gelu() ? CudaKernel.GELU_MUL : CudaKernel.SILU_MUL, mr_gate_params.sizeof());
        MemorySegment p = launch.parameters();
        int stride = Widths.stride(op.out());
        mr_gate_params.gate_up(p, op.gateUp().data());
        mr_gate_params.out(p, op.out().data());
        mr_gate_params.rows(p, rows(op.out().extent()));
        mr_gate_params.cols(p, Math.toIntExact(op.out().cols()));
        mr_gate_params.gate_up_stride(p, Widths.stride(op.gateUp()));
        mr_gate_params.out_stride(p, stride);
        launches.add(CudaLaunch.ofRows(launch, op.out().extent(), Math.ceilDiv(stride, BLOCK_COLS)));
    }

    private void add(CudaOp.SoftCap op) {
        KernelLaunch launch = launch(CudaKernel.SOFT_CAP, mr_soft_cap_params.sizeof());
        MemorySegment p = launch.parameters();
        int cols = Math.toIntExact(op.x().cols());
        mr_soft_cap_params.x(p, op.x().data());
        mr_soft_cap_params.rows(p, rows(op.x().extent()));
        mr_soft_cap_params.cols(p, cols);
        mr_soft_cap_params.cap(p, op.cap());
        launches.add(CudaLaunch.ofRows(launch, op.x().extent(), Math.ceilDiv(cols, SOFT_CAP_COLS)));
    }

    private void add(CudaOp.Gather op) {
        KernelLaunch launch = launch(CudaKernel.GATHER_ROWS, mr_gather_params.sizeof());
        MemorySegment p = launch.parameters();
        mr_gather_params.x(p, op.x().data());
        mr_gather_params.logit_rows(p, device(batch().logitRows));
        mr_gather_params.out(p, op.out().data());
        mr_gather_params.rows(p, rows(Extent.LOGIT_ROWS));
        mr_gather_params.cols(p, Widths.stride(op.x()));
        launches.add(CudaLaunch.ofRows(launch, Extent.LOGIT_ROWS, 1));
    }

    private void add(CudaOp.RopeAndCache op) {
        AttentionShape shape = op.shape();
        int width = op.cache().width();
        KernelLaunch launch = launch(CudaKernel.QKV_POST, mr_qkv_post_params.sizeof());
        MemorySegment p = launch.parameters();
        mr_qkv_post_params.qkv(p, op.qkv().data());
        mr_qkv_post_params.bias(p, MemorySegment.NULL); // the product has added it
        mr_qkv_post_params.query_norm(p, op.norm() == null ? MemorySegment.NULL : op.norm().query().data());
        mr_qkv_post_params.key_norm(p, op.norm() == null ? MemorySegment.NULL : op.norm().key().data());
        mr_qkv_post_params.cosine(p, op.rope().cos().data());
        mr_qkv_post_params.sine(p, op.rope().sin().data());
        mr_qkv_post_params.positions(p, device(batch().positions));
        mr_qkv_post_params.token_sequence(p, device(batch().tokenSequence));
        mr_qkv_post_params.block_tables(p, device(batch().blockTables));
        mr_qkv_post_params.q_out(p, pointer(workspace.queries(shape.numHeads() * width)));
        mr_qkv_post_params.kv(p, pointer(op.cache().layer(op.layer())));
        mr_qkv_post_params.rows(p, rows(Extent.TOKENS));
        mr_qkv_post_params.fault(p, pointer(batches.fault()));
        mr_qkv_post_params.num_heads(p, shape.numHeads());
        mr_qkv_post_params.num_kv_heads(p, shape.numKvHeads());
        mr_qkv_post_params.head_dim(p, shape.headDim());
        mr_qkv_post_params.rotary_dim(p, op.rope().rotaryDim());
        mr_qkv_post_params.interleaved(p, op.rope().interleaved() ? 1 : 0);
        mr_qkv_post_params.max_positions(p, Math.toIntExact(Math.min(Integer.MAX_VALUE, op.rope().cos().rows())));
        mr_qkv_post_params.max_blocks(p, batch().maxBlocksPerSequence());
        mr_qkv_post_params.num_blocks(p, op.cache().shape().numBlocks());
        mr_qkv_post_params.q_stride(p, shape.numHeads() * width);
        mr_qkv_post_params.norm_eps(p, op.norm() == null ? 0 : op.norm().eps());
        mr_qkv_post_params.q_scale(p, (float) (shape.scale() * (shape.softCap() > 0 ? 1 : LOG2_E)));
        mr_qkv_post_params.qkv_stride(p, Widths.stride(op.qkv()));
        mr_qkv_post_params.page_dim(p, width);
        launches.add(CudaLaunch.ofRows(launch, Extent.TOKENS, Math.ceilDiv(shape.numHeads() + 2 * shape.numKvHeads(), HEADS_PER_BLOCK)));
    }

    private void add(CudaOp.Attention op) {
        AttentionShape shape = op.shape();
        int group = shape.numHeads() / shape.numKvHeads();
        Workspace.PlanKey key = new Workspace.PlanKey(group, shape.slidingWindow());
        Workspace.Plan plan = workspace.plan(key);
        if (planned.add(key)) {
            addPlan(key, plan);
        }
        addDecode(op, shape, group, plan);
        addPrefill(op, shape, group, plan);
    }

    private void addPlan(Workspace.PlanKey key, Workspace.Plan plan) {
        KernelLaunch launch = launch(CudaKernel.ATTENTION_PLAN, mr_attention_plan_params.sizeof());
        MemorySegment p = launch.parameters();
        mr_attention_plan_params.query_start(p, device(batch().queryStart));
        mr_attention_plan_params.context_len(p, device(batch().contextLen));
        mr_attention_plan_params.decode_items(p, pointer(plan.items()));
        mr_attention_plan_params.prefill_tiles(p, pointer(plan.tiles()));
        mr_attention_plan_params.plan_counts(p, pointer(plan.counts()));
        mr_attention_plan_params.sequences(p, pointer(batches.address(batch().counts) + 4));
        mr_attention_plan_params.group(p, key.group());
        mr_attention_plan_params.sliding_window(p, key.slidingWindow());
        mr_attention_plan_params.min_split_pages(p, Workspace.MIN_SPLIT_PAGES);
        mr_attention_plan_params.max_splits(p, Workspace.MAX_SPLITS);
        launches.add((driver, counts) -> {
            if (counts.sequences > 0) {
                driver.launch(launch.grid(1, 1, 1));
            }
        });
    }

    private void addDecode(CudaOp.Attention op, AttentionShape shape, int group, Workspace.Plan plan) {
        int width = op.cache().width();
        CudaKernel kernel = CudaKernel.valueOf("PAGED_DECODE_" + width);
        Workspace.Partials partials = workspace.partials(shape.numHeads(), shape.numKvHeads(), width);
        KernelLaunch launch = launch(kernel, mr_paged_decode_params.sizeof());
        MemorySegment p = launch.parameters();
        mr_paged_decode_params.q(p, pointer(workspace.queries(shape.numHeads() * width)));
        mr_paged_decode_params.kv(p, pointer(op.cache().layer(op.layer())));
        mr_paged_decode_params.block_tables(p, device(batch().blockTables));
        mr_paged_decode_params.positions(p, device(batch().positions));
        mr_paged_decode_params.items(p, pointer(plan.items()));
        mr_paged_decode_params.num_items(p, pointer(plan.counts()));
        mr_paged_decode_params.sinks(p, pointer(op.sinks()));
        mr_paged_decode_params.out(p, op.out().data());
        mr_paged_decode_params.partial_out(p, pointer(partials.out()));
        mr_paged_decode_params.partial_softmax(p, pointer(partials.softmax()));
        mr_paged_decode_params.arrivals(p, pointer(partials.arrivals()));
        mr_paged_decode_params.fault(p, pointer(batches.fault()));
        mr_paged_decode_params.num_kv_heads(p, shape.numKvHeads());
        mr_paged_decode_params.group(p, group);
        mr_paged_decode_params.max_blocks(p, batch().maxBlocksPerSequence());
        mr_paged_decode_params.q_stride(p, shape.numHeads() * width);
        mr_paged_decode_params.sliding_window(p, shape.slidingWindow());
        mr_paged_decode_params.soft_cap(p, shape.softCap());
        mr_paged_decode_params.head_dim(p, shape.headDim());
        mr_paged_decode_params.out_stride(p, Widths.stride(op.out()));
        int perItem = shape.numKvHeads() * Math.ceilDiv(group, MillraceCuda.MR_CUDA_HEAD_TILE());
        long itemsPerSequence = Math.ceilDiv(workspace.maxItems(), batch().maxSequences());
        int resident = multiprocessors * kernels.blocksPerMultiprocessor(kernel);
        launches.add((driver, counts) -> {
            if (counts.singles > 0) {
                // Work is strided over the grid: no more blocks than run at once.
                driver.launch(launch.grid((int) Math.min(resident, counts.singles * itemsPerSequence * perItem), 1, 1));
            }
        });
    }

    private void addPrefill(CudaOp.Attention op, AttentionShape shape, int group, Workspace.Plan plan) {
        int width = op.cache().width();
        CudaKernel kernel = CudaKernel.valueOf("PAGED_PREFILL_" + width);
        KernelLaunch launch = launch(kernel, mr_paged_prefill_params.sizeof());
        MemorySegment p = launch.parameters();
        mr_paged_prefill_params.q(p, pointer(workspace.queries(shape.numHeads() * width)));
        mr_paged_prefill_params.kv(p, pointer(op.cache().layer(op.layer())));
        mr_paged_prefill_params.block_tables(p, device(batch().blockTables));
        mr_paged_prefill_params.query_start(p, device(batch().queryStart));
        mr_paged_prefill_params.context_len(p, device(batch().contextLen));
        mr_paged_prefill_params.tiles(p, pointer(plan.tiles()));
        mr_paged_prefill_params.num_tiles(p, pointer(plan.counts() + 4));
        mr_paged_prefill_params.sinks(p, pointer(op.sinks()));
        mr_paged_prefill_params.out(p, op.out().data());
        mr_paged_prefill_params.fault(p, pointer(batches.fault()));
        mr_paged_prefill_params.num_kv_heads(p, shape.numKvHeads());
        mr_paged_prefill_params.group(p, group);
        mr_paged_prefill_params.max_blocks(p, batch().maxBlocksPerSequence());
        mr_paged_prefill_params.q_stride(p, shape.numHeads() * width);
        mr_paged_prefill_params.sliding_window(p, shape.slidingWindow());
        mr_paged_prefill_params.soft_cap(p, shape.softCap());
        mr_paged_prefill_params.head_dim(p, shape.headDim());
        mr_paged_prefill_params.out_stride(p, Widths.stride(op.out()));
        int numKvHeads = shape.numKvHeads();
        int resident = multiprocessors * kernels.blocksPerMultiprocessor(kernel);
        launches.add((driver, counts) -> {
            if (counts.chunks > 0) {
                long tiles = (long) counts.chunkTokens * group / MillraceCuda.MR_CUDA_QUERY_TILE() + counts.chunks;
                driver.launch(launch.grid((int) Math.min(resident, tiles * numKvHeads), 1, 1));
            }
        });
    }

    private void add(CudaOp.Sample op) {
        int vocab = Math.toIntExact(op.logits().cols());
        Workspace.Sampling sampling = workspace.sampling(vocab);
        SamplingRows rows = batch().sampling;
        KernelLaunch launch = launch(CudaKernel.SAMPLE, mr_sample_params.sizeof());
        MemorySegment p = launch.parameters();
        mr_sample_params.logits(p, op.logits().data());
        mr_sample_params.work(p, pointer(sampling.work()));
        mr_sample_params.occurrences(p, pointer(sampling.occurrences()));
        mr_sample_params.rows(p, rows(Extent.LOGIT_ROWS));
        mr_sample_params.temperature(p, device(rows.temperature));
        mr_sample_params.top_k(p, device(rows.topK));
        mr_sample_params.top_p(p, device(rows.topP));
        mr_sample_params.min_p(p, device(rows.minP));
        mr_sample_params.repetition_penalty(p, device(rows.repetitionPenalty));
        mr_sample_params.frequency_penalty(p, device(rows.frequencyPenalty));
        mr_sample_params.presence_penalty(p, device(rows.presencePenalty));
        mr_sample_params.seed(p, device(rows.seed));
        mr_sample_params.draw_index(p, device(rows.drawIndex));
        mr_sample_params.target(p, device(rows.target));
        mr_sample_params.num_top(p, device(rows.numTop));
        mr_sample_params.history(p, pointer(sampling.lists().address(SamplingLists.Kind.HISTORY)));
        mr_sample_params.history_len(p, device(rows.historyLen));
        mr_sample_params.history_source(p, device(rows.historySource));
        mr_sample_params.prompt_len(p, device(rows.promptLen));
        mr_sample_params.bias_ids(p, pointer(sampling.lists().address(SamplingLists.Kind.BIAS_IDS)));
        mr_sample_params.bias_values(p, pointer(sampling.lists().address(SamplingLists.Kind.BIAS_VALUES)));
        mr_sample_params.bias_count(p, device(rows.biasCount));
        mr_sample_params.suppress_ids(p, pointer(sampling.lists().address(SamplingLists.Kind.SUPPRESS_IDS)));
        mr_sample_params.suppress_count(p, device(rows.suppressCount));
        mr_sample_params.allowed_mask(p, pointer(sampling.lists().address(SamplingLists.Kind.MASK)));
        mr_sample_params.previous_token(p, pointer(batches.previousToken()));
        mr_sample_params.token(p, device(rows.token));
        mr_sample_params.logprob(p, device(rows.logprob));
        mr_sample_params.rank(p, device(rows.rank));
        mr_sample_params.top_ids(p, device(rows.topIds));
        mr_sample_params.top_logprobs(p, device(rows.topLogprobs));
        mr_sample_params.fault(p, pointer(batches.fault()));
        mr_sample_params.vocab(p, vocab);
        mr_sample_params.max_top(p, rows.maxTop());
        launches.add(CudaLaunch.ofRows(launch, Extent.LOGIT_ROWS, 1));
    }
}
