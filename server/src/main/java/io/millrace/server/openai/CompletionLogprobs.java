package io.millrace.server.openai;

import io.millrace.engine.text.IncrementalDecoder;
import java.util.HashSet;
import java.util.Set;

/**
 * {@code {"tokens":[], "token_logprobs":[], "top_logprobs":[], "text_offset":[]}}.
 *
 * <p>The strings of {@code tokens} are what each token added to the text, so that joined they are the text and the offsets fit it; the
 * keys of {@code top_logprobs} name tokens on their own.
 */
final class CompletionLogprobs implements Logprobs {
    private final TokenText tokens;
    private final JsonBuffer texts = new JsonBuffer(256);
    private final JsonBuffer values = new JsonBuffer(256);
    private final JsonBuffer tops = new JsonBuffer(512);
    private final JsonBuffer offsets = new JsonBuffer(128);
    private final Set<String> names = new HashSet<>();
    private int offset;

    CompletionLogprobs(TokenText tokens) {
        this.tokens = tokens;
    }

    /** The prompt's own tokens, for echo; the first has no probability, nothing precedes it. */
    void addPrompt(int[] ids, PromptScores scores) {
        IncrementalDecoder decoder = tokens.tokenizer().decoder(new int[0], true);
        for (int position = 0; position < ids.length; position++) {
            begin(decoder.append(ids[position]));
            if (!scores.isKnown(position)) {
                values.raw("null");
                tops.raw("null");
                continue;
            }
            values.number(scores.logprob(position));
            openTop();
            for (int k = 0; k < scores.numTop(position); k++) {
                addTop(scores.topId(position, k), scores.topLogprob(position, k));
            }
            closeTop(ids[position], scores.logprob(position));
        }
    }

    @Override
    public void add(TokenQueue queue, String text) {
        begin(text);
        values.number(queue.logprob());
        openTop();
        for (int k = 0; k < queue.numTop(); k++) {
            addTop(queue.topId(k), queue.topLogprob(k));
        }
        closeTop(queue.token(), queue.logprob());
    }

    private void begin(String text) {
        String separator = texts.isEmpty() ? "" : ",";
        texts.raw(separator).string(text);
        offsets.raw(separator).number(offset);
        values.raw(separator);
        tops.raw(separator);
        offset += text.codePointCount(0, text.length()); // what a client in any language can count
    }

    private void openTop() {
        names.clear();
        tops.raw("{");
    }

    private void addTop(int id, float logprob) {
        String name = tokens.of(id);
        if (names.add(name)) {
            tops.raw(names.size() == 1 ? "" : ",").string(name).raw(":").number(logprob);
        }
    }

    /** The chosen token is always named, whether it is among the most likely ones or not. */
    private void closeTop(int id, float logprob) {
        addTop(id, logprob);
        tops.raw("}");
    }

    @Override
    public void writeTo(JsonBuffer json) {
        json.raw("{\"tokens\":[").raw(texts).raw("],\"token_logprobs\":[").raw(values).raw("],\"top_logprobs\":[").raw(tops)
                .raw("],\"text_offset\":[").raw(offsets).raw("]}");
    }

    @Override
    public void clear() {
        texts.clear();
        values.clear();
        tops.clear();
        offsets.clear();
    }

    @Override
    public boolean isEmpty() {
        return texts.isEmpty();
    }
}
