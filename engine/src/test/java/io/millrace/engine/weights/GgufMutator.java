package io.millrace.engine.weights;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/**
 * Damages a sound GGUF file, the same way for the same seed. It walks the header by itself and so knows where every length, count, type,
 * offset and string stands: the places where a wrong number does most.
 */
public final class GgufMutator {
    /** Numbers around the edges of what a reader may count in. */
    private static final long[] EDGES = {0, 1, 2, 7, 31, 33, 255, 256, 65_535, 65_536, Integer.MAX_VALUE - 1L, Integer.MAX_VALUE, 1L << 31, (1L << 32) - 1,
        1L << 32, 1L << 40, 1L << 53, 1L << 61, 1L << 62, Long.MAX_VALUE - 7, Long.MAX_VALUE, Long.MIN_VALUE, -1, -2, -32};
    private static final float[] FLOATS = {0, -0f, -1, 1e-30f, 1e30f, Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, Float.MIN_VALUE,
        Float.MAX_VALUE};

    /** A number of the header: where it stands and how wide it is. */
    private record Field(String kind, int at, int bytes) {}

    private final byte[] sound;
    private final ByteBuffer in;
    private final List<Field> fields = new ArrayList<>();
    private final List<Field> strings = new ArrayList<>();
    private final int headerBytes;

    /** A damaged file and what was done to it. */
    public record Damage(byte[] bytes, String what) {}

    public GgufMutator(byte[] sound) {
        this.sound = sound.clone();
        in = ByteBuffer.wrap(sound).order(ByteOrder.LITTLE_ENDIAN);
        number("magic", 4);
        number("version", 4);
        long tensors = number("tensor count", 8);
        long keys = number("key count", 8);
        for (long i = 0; i < keys; i++) {
            string("key");
            value((int) number("value type", 4), "value");
        }
        for (long i = 0; i < tensors; i++) {
            string("tensor name");
            long dimensions = number("dimensions", 4);
            for (long d = 0; d < dimensions; d++) {
                number("dimension", 8);
            }
            number("tensor type", 4);
            number("offset", 8);
        }
        headerBytes = in.position();
    }

    private long number(String kind, int bytes) {
        fields.add(new Field(kind, in.position(), bytes));
        return switch (bytes) {
            case 1 -> in.get();
            case 2 -> in.getShort();
            case 4 -> in.getInt();
            default -> in.getLong();
        };
    }

    private void string(String kind) {
        int length = (int) number(kind + " length", 8);
        strings.add(new Field(kind, in.position(), length));
        in.position(in.position() + length);
    }

    /** @param kind {@code value} of a key, or {@code element} of an array */
    private void value(int type, String kind) {
        switch (type) {
            case 0, 1, 7 -> number(kind, 1);
            case 2, 3 -> number(kind, 2);
            case 4, 5 -> number(kind, 4);
            case 6 -> number(kind + " float", 4);
            case 8 -> string("text");
            case 9 -> {
                int element = (int) number("element type", 4);
                long count = number("element count", 8);
                for (long i = 0; i < count; i++) {
                    value(element, "element");
                }
            }
            default -> number(kind, 8);
        }
    }

    /** Ends at the border of a field of the header, or near it; one of {@link #numCuts}. */
    public Damage cut(int index) {
        Field field = fields.get(index / 3);
        int length = Math.max(0, field.at() + field.bytes() - 1 + index % 3);
        return new Damage(Arrays.copyOf(sound, length), "cut at " + length + " after " + field);
    }

    public int numCuts() {
        return 3 * fields.size();
    }

    /** One to three damages. */
    public Damage damage(long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        byte[] bytes = sound.clone();
        StringBuilder what = new StringBuilder("seed " + seed);
        for (int i = random.nextInt(3) * random.nextInt(2); i >= 0; i--) {
            what.append("; ");
            bytes = damage(bytes, random, what);
        }
        return new Damage(bytes, what.toString());
    }

    private byte[] damage(byte[] bytes, SplittableRandom random, StringBuilder what) {
        switch (random.nextInt(12)) {
            case 0, 1, 2 -> setNumber(bytes, structural(random), random, what);
            case 3, 4 -> setNumber(bytes, fields.get(random.nextInt(fields.size())), random, what);
            case 5 -> setText(bytes, random, what);
            case 6 -> {
                int at = random.nextInt(Math.min(headerBytes, bytes.length));
                bytes[at] ^= (byte) (1 << random.nextInt(8));
                what.append("bit of byte ").append(at);
            }
            case 7 -> {
                int at = random.nextInt(bytes.length);
                int count = Math.min(1 + random.nextInt(64), bytes.length - at);
                byte fill = (byte) (random.nextBoolean() ? 0xff : random.nextInt(256));
                Arrays.fill(bytes, at, at + count, fill);
                what.append(count).append(" bytes of ").append(fill).append(" at ").append(at);
            }
            case 8 -> {
                Field a = structural(random);
                Field b = structural(random);
                if (Math.max(a.at() + a.bytes(), b.at() + b.bytes()) <= bytes.length) {
                    int count = Math.min(a.bytes(), b.bytes());
                    byte[] kept = Arrays.copyOfRange(bytes, a.at(), a.at() + count);
                    System.arraycopy(bytes, b.at(), bytes, a.at(), count);
                    System.arraycopy(kept, 0, bytes, b.at(), count);
                }
                what.append(a).append(" swapped with ").append(b);
            }
            case 9 -> {
                int length = random.nextInt(bytes.length);
                what.append("cut at ").append(length);
                return Arrays.copyOf(bytes, Math.max(1, length));
            }
            case 10 -> {
                int at = random.nextInt(Math.min(headerBytes, bytes.length));
                int count = Math.min(1 + random.nextInt(40), bytes.length - at);
                boolean remove = random.nextBoolean();
                what.append(remove ? "removed " : "doubled ").append(count).append(" bytes at ").append(at);
                byte[] shifted = new byte[bytes.length + (remove ? -count : count)];
                System.arraycopy(bytes, 0, shifted, 0, remove ? at : at + count);
                System.arraycopy(bytes, remove ? at + count : at, shifted, remove ? at : at + count, bytes.length - at - (remove ? count : 0));
                return shifted;
            }
            default -> {
                Field field = floatField(random);
                if (field != null && field.at() + 4 <= bytes.length) {
                    float value = FLOATS[random.nextInt(FLOATS.length)];
                    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putFloat(field.at(), value);
                    what.append(field).append(" = ").append(value);
                }
            }
        }
        return bytes;
    }

    /** A number that is no element of an array, of which there are many; values of keys most often. */
    private Field structural(SplittableRandom random) {
        Field field;
        do {
            field = fields.get(random.nextInt(fields.size()));
        } while (!field.kind().startsWith("value") && random.nextInt(field.kind().equals("text length") || field.kind().startsWith("element") ? 200 : 3) > 0);
        return field;
    }

    private Field floatField(SplittableRandom random) {
        for (int i = 0; i < 1000; i++) {
            Field field = fields.get(random.nextInt(fields.size()));
            if (field.kind().endsWith("float") && (field.kind().startsWith("value") || random.nextInt(20) == 0)) {
                return field;
            }
        }
        return null;
    }

    private static void setNumber(byte[] bytes, Field field, SplittableRandom random, StringBuilder what) {
        if (field.at() + field.bytes() > bytes.length) {
            return;
        }
        ByteBuffer out = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        long old = switch (field.bytes()) {
            case 1 -> out.get(field.at());
            case 2 -> out.getShort(field.at());
            case 4 -> out.getInt(field.at());
            default -> out.getLong(field.at());
        };
        long value = switch (random.nextInt(4)) {
            case 0 -> old + (random.nextBoolean() ? 1 : -1);
            case 1 -> random.nextBoolean() ? old * 2 : old / 2;
            case 2 -> random.nextInt(40);
            default -> EDGES[random.nextInt(EDGES.length)];
        };
        switch (field.bytes()) {
            case 1 -> out.put(field.at(), (byte) value);
            case 2 -> out.putShort(field.at(), (short) value);
            case 4 -> out.putInt(field.at(), (int) value);
            default -> out.putLong(field.at(), value);
        }
        what.append(field).append(": ").append(old).append(" -> ").append(value);
    }

    private void setText(byte[] bytes, SplittableRandom random, StringBuilder what) {
        Field field = strings.get(random.nextInt(strings.size()));
        if (field.bytes() == 0 || field.at() + field.bytes() > bytes.length) {
            return;
        }
        int at = field.at() + random.nextInt(field.bytes());
        byte value = switch (random.nextInt(6)) {
            case 0 -> (byte) 0xff;
            case 1 -> (byte) 0xc3;
            case 2 -> 0;
            case 3 -> (byte) ' ';
            case 4 -> (byte) '"';
            default -> (byte) ('!' + random.nextInt(90));
        };
        bytes[at] = value;
        what.append("byte ").append(at).append(" of ").append(field.kind()).append(" '")
                .append(new String(sound, field.at(), Math.min(30, field.bytes()), StandardCharsets.UTF_8)).append("' = ").append(value & 0xff);
    }
}
