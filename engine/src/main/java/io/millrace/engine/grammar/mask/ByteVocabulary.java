package io.millrace.engine.grammar.mask;

import io.millrace.engine.grammar.automaton.CharSet;
import io.millrace.engine.text.Tokenizer;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Comparator;

/**
 * What a model can write, token by token, ready for making masks: its tokens' bytes in two tries, one of all tokens and one of those that are
 * not plain text, and ready masks of the plain ones by length. Special tokens and tokens without bytes are in none. Immutable; made once per
 * tokenizer, some hundred bytes a token.
 */
public final class ByteVocabulary {
    /** Longest plain tokens that are told apart by length. */
    static final int MAX_PLAIN_CHARS = 32;

    private final int size;
    private final byte[][] bytes;
    private final TokenTrie all;
    private final TokenTrie notPlain;
    /** Plain tokens of up to so many characters; the last has all. */
    private final long[][] plainUpTo = new long[MAX_PLAIN_CHARS + 1][];
    private final int[] singleBytes = new int[256];
    private final CharSet alphabet;

    /** @param bytes by id what each token writes; null or empty for none */
    public ByteVocabulary(byte[][] bytes) {
        this.bytes = bytes;
        this.size = bytes.length;
        Integer[] ids = java.util.stream.IntStream.range(0, size).filter(id -> bytes[id] != null && bytes[id].length > 0).boxed()
                .toArray(Integer[]::new);
        Arrays.sort(ids, Comparator.comparing((Integer id) -> bytes[id], Arrays::compareUnsigned));
        int[] sorted = Arrays.stream(ids).mapToInt(Integer::intValue).toArray();
        int[] lengths = Arrays.stream(sorted).map(id -> plainLength(bytes[id])).toArray();
        all = new TokenTrie(bytes, sorted);
        int[] others = java.util.stream.IntStream.range(0, sorted.length)
                .filter(i -> lengths[i] < 0 || lengths[i] > MAX_PLAIN_CHARS).map(i -> sorted[i]).toArray();
        notPlain = new TokenTrie(bytes, others);
        for (int n = 0; n <= MAX_PLAIN_CHARS; n++) {
            plainUpTo[n] = new long[numWords()];
        }
        Arrays.fill(singleBytes, -1);
        for (int i = 0; i < sorted.length; i++) {
            int id = sorted[i];
            for (int n = Math.max(lengths[i], 0); lengths[i] >= 0 && n <= MAX_PLAIN_CHARS; n++) {
                plainUpTo[n][id >>> 6] |= 1L << id;
            }
            if (bytes[id].length == 1 && singleBytes[bytes[id][0] & 0xFF] < 0) {
                singleBytes[bytes[id][0] & 0xFF] = id;
            }
        }
        alphabet = findAlphabet();
    }

    /**
     * The vocabulary of {@code tokenizer}.
     *
     * @param vocabSize ids the model has, more or fewer than the tokenizer
     * @param endIds    tokens that end a text and so are never part of one, whatever their bytes
     */
    public static ByteVocabulary of(Tokenizer tokenizer, int vocabSize, int[] endIds) {
        byte[][] bytes = new byte[vocabSize][];
        for (int id = 0; id < Math.min(vocabSize, tokenizer.vocabSize()); id++) {
            bytes[id] = tokenizer.isSpecial(id) ? null : tokenizer.bytes(id);
        }
        for (int id : endIds) {
            if (id >= 0 && id < vocabSize) {
                bytes[id] = null;
            }
        }
        return new ByteVocabulary(bytes);
    }

    /** Characters if all are safe and whole, else -1. */
    private static int plainLength(byte[] token) {
        try {
            String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(token)).toString();
            boolean safe = text.codePoints().allMatch(io.millrace.engine.grammar.automaton.SafeChars.SET::contains);
            return safe ? text.codePointCount(0, text.length()) : -1;
        } catch (CharacterCodingException e) {
            return -1;
        }
    }

    /** With a token for every byte, everything can be written one byte at a time. Otherwise ASCII, as far as it can. */
    private CharSet findAlphabet() {
        boolean complete = true;
        CharSet ascii = CharSet.EMPTY;
        for (int b = 0; b < 256; b++) {
            // C0, C1 and F5 to FF are in no UTF-8 text.
            complete &= singleBytes[b] >= 0 || b == 0xC0 || b == 0xC1 || b >= 0xF5;
            if (b < 0x80 && singleBytes[b] >= 0) {
                ascii = ascii.union(CharSet.of(b));
            }
        }
        return complete ? CharSet.ALL : ascii;
    }

    /** Ids are in {@code [0, size)}. */
    public int size() {
        return size;
    }

    /** Words of 64 ids in a mask. */
    int numWords() {
        return (size + 63) / 64;
    }

    /** Not to be changed; null or empty for a token that writes nothing. */
    public byte[] bytes(int id) {
        return bytes[id];
    }

    /** The characters of which every sequence can be written. */
    public CharSet alphabet() {
        return alphabet;
    }

    TokenTrie all() {
        return all;
    }

    /** Tokens with quotes, backslashes, control characters, parts of characters, and very long ones. */
    TokenTrie notPlain() {
        return notPlain;
    }

    /** A mask that is not to be changed. */
    long[] plainUpTo(int chars) {
        return plainUpTo[Math.min(chars, MAX_PLAIN_CHARS)];
    }

    /** The token of one byte, or -1. */
    public int single(int b) {
        return singleBytes[b];
    }
}
