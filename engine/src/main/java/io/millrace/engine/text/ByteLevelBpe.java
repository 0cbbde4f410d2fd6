package io.millrace.engine.text;

import java.nio.charset.StandardCharsets;
import java.text.Normalizer;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Byte-level BPE (Radford et al.: Language models are unsupervised multitask learners, 2019) from the vocabulary of a GGUF file: added tokens are
 * cut out, the rest is normalised, cut into pieces by the pre-tokenizer's patterns, and each piece's bytes are merged. The ids are those of
 * Hugging Face's Rust library, with which the tests compare; reading 128,000 entries and 280,000 merges takes this a fraction of the time that the
 * library takes for the JSON of them, and that time is a server's start. Thread-safe.
 */
final class ByteLevelBpe implements TextEncoder {
    private final GgufPieces pieces;
    private final BpeMerges merges;
    private final AddedTokens added = new AddedTokens();
    private final List<Pattern> cuts;
    private final boolean normalizeNfc;
    private final boolean wholeEntriesFirst;
    private final int leadingId;
    private final int trailingId;
    /** Entry of a single byte, or -1 where the vocabulary has none: such bytes are dropped. */
    private final int[] byteIds = new int[0x100];

    /** @throws io.millrace.engine.EngineException {@code TOK-010}, {@code TOK-011} */
    ByteLevelBpe(GgufVocabulary vocabulary) {
        PreTokenizer pre = vocabulary.preTokenizer();
        pieces = vocabulary.pieces();
        merges = BpeMerges.of(vocabulary);
        cuts = pre.cuts();
        normalizeNfc = pre.normalizeNfc;
        wholeEntriesFirst = pre.ignoreMerges;
        leadingId = vocabulary.leadingId(pre.bosByDefault);
        trailingId = vocabulary.trailingId();
        for (int b = 0; b < byteIds.length; b++) {
            byteIds[b] = pieces.find(String.valueOf(TokenTexts.ByteLevel.charOf(b)));
        }
        for (int id = 0; id < pieces.size(); id++) {
            // Of entries that stand twice the first counts.
            if (vocabulary.isAdded(id) && !pieces.isRepeated(id)) {
                added.add(pieces.get(id), id);
            } else if (vocabulary.isAdded(id)) {
                added.add(pieces.get(id), pieces.find(pieces.get(id)));
            }
        }
    }

    @Override
    public int[] encode(String text, boolean addSpecialTokens) {
        Output out = new Output(text.length() / 3 + 8);
        if (addSpecialTokens && leadingId >= 0) {
            out.add(leadingId);
        }
        int at = 0;
        for (AddedTokens.Found found = added.next(text, 0); found != null; found = added.next(text, at)) {
            plain(text.substring(at, found.begin()), out);
            out.add(found.id());
            at = found.end();
        }
        plain(text.substring(at), out);
        if (addSpecialTokens && trailingId >= 0) {
            out.add(trailingId);
        }
        return out.toArray();
    }

    private void plain(String text, Output out) {
        if (!text.isEmpty()) {
            cut(normalizeNfc ? Normalizer.normalize(text, Normalizer.Form.NFC) : text, 0, out);
        }
    }

    /** By the cut number {@code step} and those after it; matches and gaps alike are pieces. */
    private void cut(String text, int step, Output out) {
        if (step == cuts.size()) {
            word(text, out);
            return;
        }
        Matcher matcher = cuts.get(step).matcher(text);
        int end = 0;
        while (matcher.find()) {
            if (matcher.start() > end) {
                cut(text.substring(end, matcher.start()), step + 1, out);
            }
            if (matcher.end() > matcher.start()) {
                cut(matcher.group(), step + 1, out);
            }
            end = matcher.end();
        }
        if (end < text.length()) {
            cut(text.substring(end), step + 1, out);
        }
    }

    private void word(String text, Output out) {
        byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
        if (wholeEntriesFirst) {
            int id = pieces.find(TokenTexts.ByteLevel.toAlphabet(utf8));
            if (id >= 0) {
                out.add(id);
                return;
            }
        }
        int[] symbols = out.reserve(utf8.length);
        int count = 0;
        for (byte b : utf8) {
            int id = byteIds[b & 0xff];
            if (id >= 0) {
                symbols[count++] = id;
            }
        }
        count = merges.apply(symbols, count);
        for (int i = 0; i < count; i++) {
            out.add(symbols[i]);
        }
    }

    @Override
    public void close() {
        // Nothing but heap.
    }

    /** Ids so far, and room for the symbols of a piece. */
    private static final class Output {
        private int[] ids;
        private int size;
        private int[] symbols = new int[32];

        Output(int capacity) {
            ids = new int[capacity];
        }

        void add(int id) {
            if (size == ids.length) {
                ids = Arrays.copyOf(ids, size * 2);
            }
            ids[size++] = id;
        }

        int[] reserve(int count) {
            if (symbols.length < count) {
                symbols = new int[Math.max(count, symbols.length * 2)];
            }
            return symbols;
        }

        int[] toArray() {
            return Arrays.copyOf(ids, size);
        }
    }
}
