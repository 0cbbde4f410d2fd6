package io.millrace.engine;

import io.millrace.engine.text.IncrementalDecoder;
import io.millrace.engine.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;

/**
 * Generation without a scheduler, for the command line, tests and embedding: prompts run together in waves as large as engine and
 * cache allow, each sequence with all its blocks from the start. The caller's thread is the engine thread; no other code may use the
 * engine meanwhile.
 */
public final class TextGenerator {
    private final Engine engine;
    private final EngineLimits limits;
    private final int prefillChunk;
    private long nextId;

    public TextGenerator(Engine engine) {
        this(engine, engine.limits().maxNumBatchedTokens());
    }

    /** @param prefillChunk prompt tokens of one sequence in one step at most */
    public TextGenerator(Engine engine, int prefillChunk) {
        this.engine = engine;
        this.limits = engine.limits();
        this.prefillChunk = prefillChunk;
    }

    /** Sees every step's outputs, valid during the call only. */
    @FunctionalInterface
    public interface StepListener {
        void onStep(StepPlan plan, StepResult result);

        StepListener NONE = (plan, result) -> {};
    }

    /** The text that follows {@code prompt}; special tokens, and the token that ended it, are not part of it. */
    public String generate(Tokenizer tokenizer, String prompt, SamplingParams sampling, Consumer<String> onText) {
        int[] ids = tokenizer.encode(prompt, true);
        IncrementalDecoder decoder = tokenizer.decoder(ids, true);
        StringBuilder text = new StringBuilder();
        Consumer<String> emit = piece -> {
            if (!piece.isEmpty()) {
                text.append(piece);
                onText.accept(piece);
            }
        };
        generate(List.of(ids), sampling, (plan, result) -> {
            int token = result.token(0);
            if (token >= 0 && !ends(token, sampling)) {
                emit.accept(decoder.append(token));
            }
        });
        emit.accept(decoder.finish());
        return text.toString();
    }

    /**
     * Output tokens of each prompt, the token that ended it included.
     *
     * @param prompts each at least one id and, with one more, at most {@link EngineLimits#maxModelLen}
     * @throws EngineException {@code GEN-001} if a prompt is too long
     */
    public List<int[]> generate(List<int[]> prompts, SamplingParams sampling, StepListener listener) {
        List<Sequence> waiting = new ArrayList<>();
        for (int[] prompt : prompts) {
            if (prompt.length >= limits.maxModelLen()) {
                throw new EngineException("GEN-001", "a prompt of " + prompt.length + " tokens leaves no room in the context of "
                        + limits.maxModelLen() + "; shorten it");
            }
            waiting.add(new Sequence(nextId++, prompt, sampling, limits.blockSize()));
        }
        for (int done = 0; done < waiting.size();) {
            int size = admit(waiting.subList(done, waiting.size()));
            runWave(waiting.subList(done, done + size), listener);
            done += size;
        }
        return waiting.stream().map(s -> Arrays.copyOfRange(s.tokenIds(), s.numPromptTokens(), s.numTokens())).toList();
    }

    /** Gives blocks for their whole length to as many sequences as fit. */
    private int admit(List<Sequence> waiting) {
        int usedBlocks = 0;
        int size = 0;
        for (Sequence sequence : waiting) {
            int blocks = (lengthLimit(sequence) + limits.blockSize() - 1) / limits.blockSize();
            if (size == limits.maxNumSeqs() || usedBlocks + blocks > limits.numBlocks()) {
                break;
            }
            for (int j = 0; j < blocks; j++) {
                sequence.appendBlock(usedBlocks++);
            }
            size++;
        }
        return size;
    }

    private void runWave(List<Sequence> wave, StepListener listener) {
        List<Sequence> running = new ArrayList<>(wave);
        try {
            running.forEach(engine::begin);
            StepPlan plan = new StepPlan(limits.maxNumSeqs());
            for (long step = 0; !running.isEmpty(); step++) {
                plan.clear(step);
                fill(plan, running);
                StepResult result = engine.execute(plan);
                listener.onStep(plan, result);
                for (int i = 0; i < plan.size(); i++) {
                    settle(plan, i, result.token(i), running);
                }
            }
        } finally {
            wave.forEach(engine::end);
        }
    }

    /** In order, each sequence's next chunk, within the limits on tokens and logit rows. */
    private void fill(StepPlan plan, List<Sequence> running) {
        int rows = limits.maxLogitRows();
        int tokens = limits.maxNumBatchedTokens();
        for (Sequence sequence : running) {
            int first = sequence.numComputedTokens();
            boolean score = sequence.sampling().numPromptLogprobs() >= 0 && first < sequence.numPromptTokens();
            int count = Math.min(Math.min(sequence.numTokens() - first, prefillChunk), tokens);
            if (score) {
                count = Math.min(count, rows);
            }
            if (count <= 0 || rows <= 0) {
                return;
            }
            plan.add(sequence, first, count, score);
            tokens -= count;
            rows -= plan.numLogitRows(plan.size() - 1);
        }
    }

    private void settle(StepPlan plan, int i, int token, List<Sequence> running) {
        Sequence sequence = plan.sequence(i);
        sequence.setNumComputedTokens(plan.firstPosition(i) + plan.numTokens(i));
        if (token < 0) {
            return;
        }
        if (sequence.numTokens() < lengthLimit(sequence)) {
            sequence.append(token);
        }
        if (ends(token, sequence.sampling()) || sequence.numTokens() >= lengthLimit(sequence)) {
            running.remove(sequence);
        }
    }

    private int lengthLimit(Sequence sequence) {
        return (int) Math.min((long) sequence.numPromptTokens() + sequence.sampling().maxTokens(), limits.maxModelLen());
    }

    private boolean ends(int token, SamplingParams sampling) {
        if (!sampling.ignoreEos() && limits.isEos(token)) {
            return true;
        }
        for (int id : sampling.stopTokenIds()) {
            if (id == token) {
                return true;
            }
        }
        return false;
    }
}
