package io.millrace.engine;

/**
 * What an engine can take.
 *
 * @param maxModelLen        longest sequence, prompt and output together, in tokens
 * @param maxNumSeqs         sequences in one step
 * @param maxNumBatchedTokens tokens in one step
 * @param maxLogitRows       logit rows in one step, at least {@code maxNumSeqs}
 * @param maxLogprobs        alternatives per row that can be reported
 * @param numBlocks          KV blocks
 * @param blockSize          tokens per KV block
 * @param eosTokenIds        the model's end-of-sequence ids, from generation_config.json and config.json
 */
public record EngineLimits(int vocabSize, int maxModelLen, int maxNumSeqs, int maxNumBatchedTokens, int maxLogitRows, int maxLogprobs,
        int numBlocks, int blockSize, int[] eosTokenIds) {
    public boolean isEos(int tokenId) {
        for (int id : eosTokenIds) {
            if (id == tokenId) {
                return true;
            }
        }
        return false;
    }
}
