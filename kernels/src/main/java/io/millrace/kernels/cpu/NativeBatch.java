package io.millrace.kernels.cpu;

import io.millrace.bindings.cpu.generated.mr_batch;
import io.millrace.kernels.Batch;
import io.millrace.kernels.SamplingRows;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** The addresses and capacities of a batch as {@code mr_batch}. */
final class NativeBatch {
    private NativeBatch() {}

    /** @param previous the batch of the run before each run over {@code batch} */
    static MemorySegment describe(Batch batch, Batch previous, Arena arena) {
        MemorySegment at = mr_batch.allocate(arena);
        mr_batch.counts(at, batch.counts);
        mr_batch.token_ids(at, batch.tokenIds);
        mr_batch.positions(at, batch.positions);
        mr_batch.token_sequence(at, batch.tokenSequence);
        mr_batch.query_start(at, batch.queryStart);
        mr_batch.context_len(at, batch.contextLen);
        mr_batch.block_tables(at, batch.blockTables);
        mr_batch.logit_rows(at, batch.logitRows);
        SamplingRows rows = batch.sampling;
        mr_batch.temperature(at, rows.temperature);
        mr_batch.top_k(at, rows.topK);
        mr_batch.top_p(at, rows.topP);
        mr_batch.min_p(at, rows.minP);
        mr_batch.repetition_penalty(at, rows.repetitionPenalty);
        mr_batch.frequency_penalty(at, rows.frequencyPenalty);
        mr_batch.presence_penalty(at, rows.presencePenalty);
        mr_batch.seed(at, rows.seed);
        mr_batch.draw_index(at, rows.drawIndex);
        mr_batch.target(at, rows.target);
        mr_batch.num_top(at, rows.numTop);
        mr_batch.history(at, rows.history);
        mr_batch.history_len(at, rows.historyLen);
        mr_batch.prompt_len(at, rows.promptLen);
        mr_batch.bias_ids(at, rows.biasIds);
        mr_batch.bias_values(at, rows.biasValues);
        mr_batch.bias_count(at, rows.biasCount);
        mr_batch.suppress_ids(at, rows.suppressIds);
        mr_batch.suppress_count(at, rows.suppressCount);
        mr_batch.allowed_mask(at, rows.allowedMask);
        mr_batch.token(at, rows.token);
        mr_batch.logprob(at, rows.logprob);
        mr_batch.rank(at, rows.rank);
        mr_batch.top_ids(at, rows.topIds);
        mr_batch.top_logprobs(at, rows.topLogprobs);
        mr_batch.max_tokens(at, batch.maxTokens());
        mr_batch.max_sequences(at, batch.maxSequences());
        mr_batch.max_blocks_per_sequence(at, batch.maxBlocksPerSequence());
        mr_batch.max_logit_rows(at, batch.maxLogitRows());
        mr_batch.max_top(at, rows.maxTop());
        mr_batch.token_source(at, batch.tokenSource);
        mr_batch.history_source(at, rows.historySource);
        mr_batch.previous_token(at, previous.sampling.token);
        return at;
    }
}
