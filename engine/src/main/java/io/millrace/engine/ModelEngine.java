package io.millrace.engine;

import io.millrace.engine.model.DecoderModel;
import io.millrace.kernels.Backend;
import io.millrace.kernels.Batch;
import io.millrace.kernels.KvCache;
import io.millrace.kernels.Program;
import io.millrace.kernels.WorkCounter;
import java.util.Optional;

/**
 * Runs plans on one backend: fills a batch, replays the recorded program, hands out its outputs. A step allocates nothing. {@link #execute}
 * runs it on the caller's thread; submitted steps run on a thread of their own ({@link StepRunner}), over the two batches in turn.
 * What reaches native code is checked here: ids inside the vocabulary when a sequence begins, block ids and ranges in every step.
 *
 * <p>Errors: {@code SEQ-001} an id outside the vocabulary, {@code SEQ-002} a sequence that was not begun, {@code STEP-001} a plan that the
 * batch cannot hold or whose blocks are wrong, {@code STEP-002} a sampled id outside the vocabulary.
 */
final class ModelEngine implements Engine {
    private final Backend backend;
    private final Batch[] batches;
    private final Program program;
    private final EngineLimits limits;
    private final String kvCacheDtype;
    private final StepOutputs[] outputs;
    private final StepPlan[] plans = new StepPlan[2];
    private StepRunner runner;
    private WeightPacking packing;
    private final ModelWork work;
    private boolean closed;

    // The step being filled.
    private Batch batch;
    private StepOutputs filled;
    private StepOutputs before;

    /** @param backend owned from here on: closed by {@link #close} */
    ModelEngine(Backend backend, DecoderModel model, KvCache cache, EngineLimits limits) {
        this.backend = backend;
        this.batches = new Batch[] {backend.batch(0), backend.batch(1)};
        this.limits = limits;
        this.kvCacheDtype = cache.shape().dtype().label();
        this.outputs = new StepOutputs[] {new StepOutputs(batches[0].sampling, limits.maxNumSeqs()),
            new StepOutputs(batches[1].sampling, limits.maxNumSeqs())};
        this.program = backend.record(ops -> {
            model.forward(ops, cache);
            ops.sample(model.logits());
        });
        WorkCounter counter = new WorkCounter();
        model.forward(counter, cache);
        this.work = ModelWork.of(counter);
    }

    /**
     * Takes over what the weights come from. Called once, before the first step; a model that borrows none needs no such call.
     *
     * @param closeSource called once: when no weight is borrowed any more, or by {@link #close}
     */
    void own(Runnable closeSource) {
        packing = new WeightPacking(backend, closeSource);
    }

    @Override
    public EngineLimits limits() {
        return limits;
    }

    @Override
    public String kvCacheDtype() {
        return kvCacheDtype;
    }

    @Override
    public Optional<ModelWork> work() {
        return Optional.of(work);
    }

    @Override
    public long bytesToPack() {
        return backend.bytesToPack();
    }

    @Override
    public boolean packSome() {
        return packing != null && packing.some();
    }

    @Override
    public void begin(Sequence sequence) {
        for (int p = 0; p < sequence.numTokens(); p++) {
            checkId(sequence, sequence.tokenId(p), "token");
        }
        for (int id : sequence.sampling().biasIds()) {
            checkId(sequence, id, "logit_bias");
        }
        sequence.setEngineState(new SamplingState(sequence, limits));
    }

    @Override
    public void end(Sequence sequence) {
        if (sequence.engineState() instanceof SamplingState state) {
            state.close();
            sequence.setEngineState(null);
        }
    }

    @Override
    public StepResult execute(StepPlan plan) {
        fill(plan, 0);
        backend.run(program, 0);
        return checked(plan, 0);
    }

    @Override
    public int maxStepsInFlight() {
        return 2;
    }

    @Override
    public long submit(StepPlan plan) {
        if (runner == null) {
            runner = new StepRunner(slot -> backend.run(program, slot));
        }
        int slot = runner.nextSlot();
        fill(plan, slot);
        plans[slot] = plan;
        return runner.submit();
    }

    @Override
    public long runnerThreadId() {
        return runner == null ? -1 : runner.threadId();
    }

    @Override
    public StepResult await(long ticket) {
        int slot = runner.await(ticket);
        return checked(plans[slot], slot);
    }

    @Override
    public String position() {
        return backend.position(program);
    }

    private void fill(StepPlan plan, int slot) {
        if (plan.size() > limits.maxNumSeqs() || plan.totalTokens() > limits.maxNumBatchedTokens() || plan.isEmpty()) {
            throw new EngineException("STEP-001", "a step of " + plan.size() + " sequences and " + plan.totalTokens() + " tokens; limits are 1 to "
                    + limits.maxNumSeqs() + " sequences and " + limits.maxNumBatchedTokens() + " tokens");
        }
        batch = batches[slot];
        filled = outputs[slot];
        before = outputs[1 - slot];
        batch.clear();
        for (int i = 0; i < plan.size(); i++) {
            addEntry(plan, i);
        }
    }

    private StepOutputs checked(StepPlan plan, int slot) {
        if (packing != null) {
            packing.endIfDone();
        }
        StepOutputs result = outputs[slot];
        for (int i = 0; i < plan.size(); i++) {
            int token = result.token(i);
            if (result.sampledRow(i) >= 0 && (token < 0 || token >= limits.vocabSize())) {
                throw new EngineException("STEP-002", "sequence " + plan.sequence(i).id() + " drew the id " + token
                        + " outside the vocabulary of " + limits.vocabSize());
            }
        }
        return result;
    }

    @Override
    public void close() {
        if (!closed) {
            closed = true;
            if (runner != null) {
                runner.close();
            }
            backend.close();
            if (packing != null) {
                packing.close();
            }
        }
    }

    private void addEntry(StepPlan plan, int i) {
        Sequence sequence = plan.sequence(i);
        int first = plan.firstPosition(i);
        int count = plan.numTokens(i);
        int source = plan.source(i);
        int sourceRow = source < 0 ? -1 : before.sampledRow(source);
        int numBlocks = checkBlocks(sequence, first, count, sequence.numTokens() + (source < 0 ? 0 : 1));
        if (!(sequence.engineState() instanceof SamplingState state)) {
            throw new EngineException("SEQ-002", "sequence " + sequence.id() + " was not begun or has ended");
        }
        if (batch.numLogitRows() + plan.numLogitRows(i) > limits.maxLogitRows()) {
            throw new EngineException("STEP-001", "a step of more than " + limits.maxLogitRows() + " logit rows; score prompts in smaller chunks");
        }
        int t0 = source < 0 ? batch.addSequence(sequence.tokenIds(), first, count, sequence.blockIds(), numBlocks)
                : batch.addDrawn(sourceRow, first, sequence.blockIds(), numBlocks);
        boolean samples = plan.samples(i);
        int scored = plan.numLogitRows(i) - (samples ? 1 : 0);
        int firstRow = batch.numLogitRows();
        int promptTop = sequence.sampling().numPromptLogprobs();
        for (int k = 0; k < scored; k++) {
            int row = batch.addLogitRow(t0 + k);
            batch.sampling.setScored(row, sequence.tokenId(first + k + 1), Math.min(batch.sampling.maxTop(), Math.max(0, promptTop)));
            filled.setTop(row, promptTop);
        }
        int sampledRow = -1;
        if (samples) {
            sampledRow = batch.addLogitRow(t0 + count - 1);
            state.fill(batch.sampling, sampledRow, sequence, sourceRow);
            filled.setTop(sampledRow, sequence.sampling().numLogprobs());
        }
        filled.setEntry(i, firstRow, scored, sampledRow);
    }

    /** @return blocks that hold the positions {@code [0, first + count)} */
    private int checkBlocks(Sequence sequence, int first, int count, int numTokens) {
        int end = first + count;
        int needed = (end + limits.blockSize() - 1) / limits.blockSize();
        if (first < 0 || count <= 0 || end > numTokens || end > limits.maxModelLen() || sequence.numBlocks() < needed) {
            throw new EngineException("STEP-001", "sequence " + sequence.id() + ": positions [" + first + ", " + end + ") with " + sequence.numBlocks()
                    + " blocks of " + limits.blockSize() + "; it has " + numTokens + " tokens, the model takes " + limits.maxModelLen());
        }
        int[] blocks = sequence.blockIds();
        for (int j = 0; j < needed; j++) {
            if (blocks[j] < 0 || blocks[j] >= limits.numBlocks()) {
                throw new EngineException("STEP-001", "sequence " + sequence.id() + ": block id " + blocks[j] + " is outside [0, "
                        + limits.numBlocks() + ")");
            }
        }
        return needed;
    }

    private void checkId(Sequence sequence, int id, String what) {
        if (id < 0 || id >= limits.vocabSize()) {
            throw new EngineException("SEQ-001", "sequence " + sequence.id() + ": " + what + " id " + id + " is outside the vocabulary [0, "
                    + limits.vocabSize() + ")");
        }
    }
}
