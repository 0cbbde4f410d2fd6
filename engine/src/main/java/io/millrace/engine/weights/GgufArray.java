package io.millrace.engine.weights;

import io.millrace.engine.EngineException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** An array in GGUF metadata. Arrays of numbers are not copied and must not be changed. */
public sealed interface GgufArray {
    /**
     * Strings as they lie in the mapped file, made into objects only when asked for: a vocabulary has a hundred thousand, its merges two or
     * three times as many. Usable until the file is closed.
     */
    final class Strings implements GgufArray {
        private final Path file;
        private final MemorySegment bytes;
        private final long[] begins;
        private final int[] lengths;

        /** Entry i is UTF-8 at {@code [begins[i], begins[i] + lengths[i])} of {@code bytes}; already checked to be inside. */
        Strings(Path file, MemorySegment bytes, long[] begins, int[] lengths) {
            this.file = file;
            this.bytes = bytes;
            this.begins = begins;
            this.lengths = lengths;
        }

        public int size() {
            return lengths.length;
        }

        /** Bytes of entry {@code i}. */
        public int length(int i) {
            return lengths[i];
        }

        /** Copies the bytes of entry {@code i} to {@code into[at ..]}; whether they are UTF-8 is not looked at. */
        public void copyTo(int i, byte[] into, int at) {
            MemorySegment.copy(bytes, ValueLayout.JAVA_BYTE, begins[i], into, at, lengths[i]);
        }

        /** @throws EngineException {@code GGUF-004} where the entry is not UTF-8 */
        public String get(int i) {
            byte[] utf8 = new byte[lengths[i]];
            copyTo(i, utf8, 0);
            String text = new String(utf8, StandardCharsets.UTF_8);
            if (text.indexOf('\uFFFD') >= 0) { // the character itself, or what stands for bytes that are none
                try {
                    StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(utf8));
                } catch (CharacterCodingException e) {
                    throw new EngineException("GGUF-004", file + ": the string at " + begins[i] + " is not UTF-8", e);
                }
            }
            return text;
        }

        /**
         * All entries, copied from the file at once.
         *
         * @throws EngineException {@code GGUF-004} where they take more than {@link Slices#MAX_BYTES}
         */
        public Slices slices() {
            int count = lengths.length;
            long first = count == 0 ? 0 : begins[0];
            long size = count == 0 ? 0 : begins[count - 1] + lengths[count - 1] - first;
            if (size > Slices.MAX_BYTES) {
                throw new EngineException("GGUF-004", file + ": an array of " + count + " strings takes " + size + " bytes, the limit is "
                        + Slices.MAX_BYTES);
            }
            int[] relative = new int[count];
            for (int i = 0; i < count; i++) {
                relative[i] = (int) (begins[i] - first);
            }
            return new Slices(bytes.asSlice(first, size).toArray(ValueLayout.JAVA_BYTE), relative, lengths);
        }

        public String[] toArray() {
            String[] strings = new String[lengths.length];
            for (int i = 0; i < strings.length; i++) {
                strings[i] = get(i);
            }
            return strings;
        }
    }

    /** Strings as slices of one array: entry i is UTF-8, unchecked, at {@code [begin(i), end(i))} of {@link #bytes}. Not to be changed. */
    final class Slices {
        static final long MAX_BYTES = 256L << 20;
        private final byte[] bytes;
        private final int[] begins;
        private final int[] lengths;

        Slices(byte[] bytes, int[] begins, int[] lengths) {
            this.bytes = bytes;
            this.begins = begins;
            this.lengths = lengths;
        }

        public int size() {
            return begins.length;
        }

        public byte[] bytes() {
            return bytes;
        }

        public int begin(int i) {
            return begins[i];
        }

        public int end(int i) {
            return begins[i] + lengths[i];
        }
    }

    record Floats(float[] values) implements GgufArray {}

    /** Integers of any width, and booleans as 0 and 1. */
    record Integers(long[] values) implements GgufArray {}
}
