package io.millrace.engine.weights;

import io.millrace.engine.EngineException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads a GGUF header from a mapped file. Nothing in it is believed: every length is compared with the bytes that are left before
 * anything of that length is made, so a hostile file of n bytes cannot make more than a small multiple of n bytes of objects.
 *
 * @param metadata  values as Long (all integers), Double, Boolean, String, or {@link GgufArray}
 * @param dataStart first byte of the data section in the file
 */
record GgufHeader(Map<String, Object> metadata, Map<String, GgufTensor> tensors, long dataStart) {
    private static final ValueLayout.OfInt U32 = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfLong U64 = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort U16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final byte[] MAGIC = {'G', 'G', 'U', 'F'};
    /** Magic, version, number of tensors, number of keys. */
    private static final int FIXED_BYTES = 4 + 4 + 8 + 8;
    private static final long MAX_NAME_BYTES = 65_535;
    private static final int WINDOW_BYTES = 1 << 20;
    private static final int MAX_DIMENSIONS = 4;
    private static final int DEFAULT_ALIGNMENT = 32;
    /** Least bytes of a key: length, one character, type, a one-byte value. Of a tensor: length, a character, dimensions, type, offset. */
    private static final int MIN_KEY_BYTES = 8 + 1 + 4 + 1;
    private static final int MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8;

    /** Value types of the format, by code. */
    private static final int UINT8 = 0;
    private static final int INT8 = 1;
    private static final int UINT16 = 2;
    private static final int INT16 = 3;
    private static final int UINT32 = 4;
    private static final int INT32 = 5;
    private static final int FLOAT32 = 6;
    private static final int BOOL = 7;
    private static final int STRING = 8;
    private static final int ARRAY = 9;
    private static final int UINT64 = 10;
    private static final int INT64 = 11;
    private static final int FLOAT64 = 12;

    static GgufHeader parse(Path file, MemorySegment bytes) {
        Reader in = new Reader(file, bytes);
        if (!beginsLikeGguf(bytes)) {
            throw new EngineException("GGUF-002", file + " is no GGUF file: it does not begin with 'GGUF'");
        }
        if (bytes.byteSize() < FIXED_BYTES) {
            throw new EngineException("GGUF-003", file + (bytes.byteSize() == 0 ? " is empty" : " ends after " + bytes.byteSize() + " bytes, within the first "
                    + FIXED_BYTES + " of a GGUF file's header") + "; it is cut short, download it again");
        }
        in.take(MAGIC.length);
        int version = in.u32();
        if (version != 2 && version != 3) {
            String hint = Integer.reverseBytes(version) == 3 || Integer.reverseBytes(version) == 2
                    ? "it was written for a big-endian machine" : "versions 2 and 3 are read; convert it again with a current tool";
            throw new EngineException("GGUF-002", file + " has GGUF version " + Integer.toUnsignedString(version) + ": " + hint);
        }
        long numTensors = in.count("tensors", MIN_TENSOR_BYTES);
        long numKeys = in.count("metadata keys", MIN_KEY_BYTES);
        Map<String, Object> metadata = new LinkedHashMap<>();
        for (long i = 0; i < numKeys; i++) {
            String key = in.string(MAX_NAME_BYTES);
            int type = in.u32();
            if (metadata.putIfAbsent(key, type == ARRAY ? in.array(key) : in.scalar(type, key)) != null) {
                throw new EngineException("GGUF-004", file + " has the metadata key " + SafetensorsHeader.quote(key) + " twice");
            }
        }
        Map<String, GgufTensor> tensors = readTensors(in, numTensors);
        long alignment = alignment(file, metadata);
        long dataStart = (in.at + alignment - 1) / alignment * alignment;
        if (numTensors == 0) {
            dataStart = Math.min(dataStart, bytes.byteSize()); // Vocabulary-only files may end here, without padding.
        }
        checkPlacement(file, tensors, alignment, bytes.byteSize() - dataStart);
        return new GgufHeader(metadata, tensors, dataStart);
    }

    /** Also of a file that ends within its first four bytes. */
    private static boolean beginsLikeGguf(MemorySegment bytes) {
        for (int i = 0; i < Math.min(MAGIC.length, bytes.byteSize()); i++) {
            if (bytes.get(ValueLayout.JAVA_BYTE, i) != MAGIC[i]) {
                return false;
            }
        }
        return true;
    }

    private static long alignment(Path file, Map<String, Object> metadata) {
        Object value = metadata.getOrDefault("general.alignment", (long) DEFAULT_ALIGNMENT);
        if (!(value instanceof Long alignment) || alignment < 1 || alignment > 1 << 20 || Long.bitCount(alignment) != 1) {
            throw new EngineException("GGUF-004", file + ": general.alignment is " + value + "; a power of two up to 1048576 is needed");
        }
        return alignment;
    }

    private static Map<String, GgufTensor> readTensors(Reader in, long numTensors) {
        Map<String, GgufTensor> tensors = new LinkedHashMap<>();
        for (long i = 0; i < numTensors; i++) {
            String name = in.string(MAX_NAME_BYTES);
            int dimensions = in.u32();
            if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
                throw in.badTensor(name, "it has " + Integer.toUnsignedString(dimensions) + " dimensions; 1 to " + MAX_DIMENSIONS + " are possible");
            }
            List<Long> shape = new ArrayList<>(dimensions);
            long elements = 1;
            for (int d = 0; d < dimensions; d++) {
                long length = in.u64();
                // Every factor and product stays below 2^56, so nothing overflows here or in bytes.
                if (length < 1 || length > (1L << 56) / elements) {
                    throw in.badTensor(name, "dimension " + d + " is " + Long.toUnsignedString(length));
                }
                elements *= length;
                shape.addFirst(length);
            }
            int code = in.u32();
            GgmlType type = GgmlType.of(code).orElseThrow(() -> in.badTensor(name, "its type code " + Integer.toUnsignedString(code)
                    + " is not known to this version"));
            if (shape.getLast() % type.blockElements() != 0) {
                throw in.badTensor(name, "rows of " + shape.getLast() + " elements are no whole number of " + type + " blocks of "
                        + type.blockElements());
            }
            // Divided first: no type has more than 8 bytes an element.
            long byteSize = elements / type.blockElements() * type.blockBytes();
            if (tensors.putIfAbsent(name, new GgufTensor(name, type, shape, in.u64(), byteSize)) != null) {
                throw in.badTensor(name, "the name stands twice");
            }
        }
        return tensors;
    }

    private static void checkPlacement(Path file, Map<String, GgufTensor> tensors, long alignment, long dataBytes) {
        List<GgufTensor> byOffset = new ArrayList<>(tensors.values());
        byOffset.sort(Comparator.comparingLong(GgufTensor::offset));
        long end = 0;
        String before = "";
        for (GgufTensor tensor : byOffset) {
            long offset = tensor.offset();
            if (offset < 0 || offset % alignment != 0 || dataBytes < 0 || offset > dataBytes || tensor.byteSize() > dataBytes - offset) {
                throw new EngineException("GGUF-006", file + ": tensor " + SafetensorsHeader.quote(tensor.name()) + " of " + tensor.byteSize()
                        + " bytes at offset " + Long.toUnsignedString(offset) + " does not fit the " + Math.max(0, dataBytes)
                        + " bytes of data (alignment " + alignment + "): the file is cut short or damaged; download it again");
            }
            if (offset < end) {
                throw new EngineException("GGUF-006", file + ": tensors " + SafetensorsHeader.quote(before) + " and "
                        + SafetensorsHeader.quote(tensor.name()) + " overlap; the file is damaged, download it again");
            }
            end = offset + tensor.byteSize();
            before = tensor.name();
        }
    }

    /** A bounds-checked cursor over the mapped file. */
    private static final class Reader {
        private final Path file;
        private final MemorySegment bytes;
        private long at;

        Reader(Path file, MemorySegment bytes) {
            this.file = file;
            this.bytes = bytes;
        }

        private long take(long count) {
            if (count < 0 || count > bytes.byteSize() - at) {
                throw new EngineException("GGUF-003", file + ": the header needs " + Long.toUnsignedString(count) + " more bytes at " + at
                        + " of " + bytes.byteSize() + "; the file is cut short or damaged, download it again");
            }
            long start = at;
            at += count;
            return start;
        }

        int u32() {
            return bytes.get(U32, take(4));
        }

        long u64() {
            return bytes.get(U64, take(8));
        }

        /** A number of things of at least {@code minBytes} each, which must therefore fit what is left of the file. */
        long count(String what, int minBytes) {
            long count = u64();
            if (count < 0 || count > (bytes.byteSize() - at) / minBytes) {
                throw new EngineException("GGUF-003", file + ": " + Long.toUnsignedString(count) + " " + what + " cannot stand in the "
                        + (bytes.byteSize() - at) + " bytes left; the file is cut short or damaged, download it again");
            }
            return count;
        }

        private long stringLength(long maxBytes) {
            long length = u64();
            if (length < 0 || length > maxBytes) {
                throw new EngineException("GGUF-003", file + ": a string of " + Long.toUnsignedString(length) + " bytes at " + (at - 8)
                        + " exceeds the limit of " + maxBytes);
            }
            return length;
        }

        String string(long maxBytes) {
            long length = stringLength(maxBytes);
            byte[] utf8 = bytes.asSlice(take(length), length).toArray(ValueLayout.JAVA_BYTE);
            try {
                return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(utf8)).toString();
            } catch (CharacterCodingException e) {
                throw new EngineException("GGUF-004", file + ": the string at " + (at - length) + " is not UTF-8", e);
            }
        }

        Object scalar(int type, String key) {
            return switch (type) {
                case UINT8 -> (long) (bytes.get(ValueLayout.JAVA_BYTE, take(1)) & 0xff);
                case INT8 -> (long) bytes.get(ValueLayout.JAVA_BYTE, take(1));
                case UINT16 -> (long) (bytes.get(U16, take(2)) & 0xffff);
                case INT16 -> (long) bytes.get(U16, take(2));
                case UINT32 -> Integer.toUnsignedLong(u32());
                case INT32 -> (long) u32();
                case UINT64, INT64 -> u64();
                case FLOAT32 -> (double) Float.intBitsToFloat(u32());
                case FLOAT64 -> Double.longBitsToDouble(u64());
                case BOOL -> bytes.get(ValueLayout.JAVA_BYTE, take(1)) != 0;
                case STRING -> string(bytes.byteSize());
                default -> throw new EngineException("GGUF-004", file + ": metadata key " + SafetensorsHeader.quote(key) + " has the value type "
                        + Integer.toUnsignedString(type) + ", which the format does not know");
            };
        }

        /** Arrays of arrays are allowed by the format but used by nobody; they are refused, which bounds the depth. */
        GgufArray array(String key) {
            int type = u32();
            int elementBytes = switch (type) {
                case UINT8, INT8, BOOL -> 1;
                case UINT16, INT16 -> 2;
                case UINT32, INT32, FLOAT32 -> 4;
                case UINT64, INT64, FLOAT64, STRING -> 8;
                default -> throw new EngineException("GGUF-004", file + ": metadata key " + SafetensorsHeader.quote(key)
                        + " is an array of the element type " + Integer.toUnsignedString(type) + ", which is not read");
            };
            int count = Math.toIntExact(Math.min(count("elements of " + SafetensorsHeader.quote(key), elementBytes), Integer.MAX_VALUE));
            if (type == STRING) {
                return strings(count);
            }
            long size = (long) count * elementBytes;
            if (size > GgufArray.Slices.MAX_BYTES) {
                throw new EngineException("GGUF-004", file + ": metadata key " + SafetensorsHeader.quote(key) + " is an array of " + size
                        + " bytes, the limit is " + GgufArray.Slices.MAX_BYTES);
            }
            byte[] raw = bytes.asSlice(take(size), size).toArray(ValueLayout.JAVA_BYTE);
            ByteBuffer values = ByteBuffer.wrap(raw).order(ByteOrder.LITTLE_ENDIAN);
            if (type == FLOAT32 || type == FLOAT64) {
                float[] floats = new float[count];
                for (int i = 0; i < count; i++) {
                    floats[i] = type == FLOAT32 ? values.getFloat(4 * i) : (float) values.getDouble(8 * i);
                }
                return new GgufArray.Floats(floats);
            }
            long[] integers = new long[count];
            for (int i = 0; i < count; i++) {
                integers[i] = switch (type) {
                    case UINT8 -> raw[i] & 0xff;
                    case INT8 -> raw[i];
                    case BOOL -> raw[i] & 1;
                    case UINT16 -> values.getShort(2 * i) & 0xffff;
                    case INT16 -> values.getShort(2 * i);
                    case UINT32 -> Integer.toUnsignedLong(values.getInt(4 * i));
                    case INT32 -> values.getInt(4 * i);
                    default -> values.getLong(8 * i);
                };
            }
            return new GgufArray.Integers(integers);
        }

        /**
         * Walks over a vocabulary's strings by their lengths. These are read from copies of a part of the file each: one by one from the mapped file
         * they would take a start, whose code is not compiled yet, a tenth of a second.
         */
        private GgufArray.Strings strings(int count) {
            long[] begins = new long[count];
            int[] lengths = new int[count];
            byte[] window = new byte[(int) Math.min(WINDOW_BYTES, bytes.byteSize() - at)];
            long windowBegin = at - window.length; // Before the place, so that the first string fills it.
            for (int i = 0; i < count; i++) {
                int inWindow = (int) Math.min(window.length, at - windowBegin);
                if (inWindow > window.length - 8) {
                    if (window.length > bytes.byteSize() - at) {
                        window = new byte[(int) (bytes.byteSize() - at)];
                    }
                    MemorySegment.copy(bytes, ValueLayout.JAVA_BYTE, at, window, 0, window.length);
                    windowBegin = at;
                    inWindow = 0;
                }
                if (window.length < 8) {
                    take(8); // Says that the file ends.
                }
                // Little-endian; what does not fit an int exceeds the limit in any case.
                int low = (window[inWindow] & 0xff) | (window[inWindow + 1] & 0xff) << 8 | (window[inWindow + 2] & 0xff) << 16 | window[inWindow + 3] << 24;
                int high = window[inWindow + 4] | window[inWindow + 5] | window[inWindow + 6] | window[inWindow + 7];
                if (high != 0 || low < 0 || low > MAX_NAME_BYTES) {
                    stringLength(MAX_NAME_BYTES);
                }
                begins[i] = at + 8;
                lengths[i] = low;
                at += 8;
                take(low);
            }
            return new GgufArray.Strings(file, bytes, begins, lengths);
        }

        EngineException badTensor(String name, String why) {
            return new EngineException("GGUF-005", file + ": tensor " + SafetensorsHeader.quote(name) + ": " + why);
        }
    }
}
