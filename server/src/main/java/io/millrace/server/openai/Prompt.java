package io.millrace.server.openai;

/**
 * What generation continues.
 *
 * @param ids  at least one token
 * @param text as the client sent it, or the text of the ids it sent
 */
record Prompt(int[] ids, String text) {
    /** A tokenizer may know ids that the model has no embedding for: such a prompt is the client's to change, not a failure of a step. */
    static void requireInVocabulary(String param, int[] ids, int vocabSize) {
        for (int id : ids) {
            if (id < 0 || id >= vocabSize) {
                throw ApiException.badRequest(param, "`" + param + "` encodes to the token id " + id + ", but this model has embeddings for [0, "
                        + vocabSize + ") only; leave out the text that stands for it.");
            }
        }
    }
}
