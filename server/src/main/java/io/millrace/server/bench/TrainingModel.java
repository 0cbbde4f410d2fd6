package io.millrace.server.bench;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A GGUF file of a Llama that knows nothing, with a byte-level BPE vocabulary of some size: the bundled model comes in the Hugging Face layout, and
 * the start-up cache should hold the way from a GGUF file to an engine and a tokenizer too.
 */
final class TrainingModel {
    private static final int HIDDEN = 64;
    private static final int FFN = 96;
    private static final int ALIGNMENT = 32;
    /** Types of values, and of tensors. */
    private static final int UINT32 = 4;
    private static final int INT32 = 5;
    private static final int FLOAT32 = 6;
    private static final int STRING = 8;
    private static final int ARRAY = 9;
    private static final int F32 = 0;
    private static final int Q8_0 = 8;

    private record Entry(String name, int type, long[] shape, int bytes) {}

    private final List<String> tokens = new ArrayList<>();
    private final List<String> merges = new ArrayList<>();
    private final List<Entry> tensors = new ArrayList<>();
    private final ByteArrayOutputStream keys = new ByteArrayOutputStream();
    private int numKeys;

    private TrainingModel() {
        for (int b = 0, beyond = 0x100; b < 0x100; b++) {
            boolean printable = b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE;
            tokens.add(String.valueOf((char) (printable ? b : beyond++)));
        }
        for (char a = 'a'; a <= 'z'; a++) {
            for (char b = 'a'; b <= 'z'; b++) {
                merge("" + a, "" + b);
            }
        }
        for (char a = 'a'; a <= 'z'; a++) {
            for (int pair = 0; pair < 26 * 26; pair++) {
                merge("" + (char) ('a' + pair / 26) + (char) ('a' + pair % 26), "" + a);
            }
        }
        tokens.add("<|end|>");
    }

    private void merge(String left, String right) {
        merges.add(left + " " + right);
        tokens.add(left + right);
    }

    /** Writes it to {@code file}. */
    static void write(Path file) throws IOException {
        TrainingModel model = new TrainingModel();
        model.describe();
        model.tensors();
        Files.write(file, model.bytes());
    }

    private void describe() {
        text("general.architecture", "llama");
        number("llama.context_length", 256);
        number("llama.embedding_length", HIDDEN);
        number("llama.block_count", 1);
        number("llama.feed_forward_length", FFN);
        number("llama.attention.head_count", 2);
        number("llama.attention.head_count_kv", 1);
        key("llama.attention.layer_norm_rms_epsilon", FLOAT32, buffer(4).putFloat(1e-5f));
        text("tokenizer.ggml.model", "gpt2");
        text("tokenizer.ggml.pre", "llama-bpe");
        strings("tokenizer.ggml.tokens", tokens);
        ByteBuffer types = buffer(12 + 4 * tokens.size()).putInt(INT32).putLong(tokens.size());
        for (int id = 0; id < tokens.size(); id++) {
            types.putInt(id == tokens.size() - 1 ? 3 : 1);
        }
        key("tokenizer.ggml.token_type", ARRAY, types);
        strings("tokenizer.ggml.merges", merges);
        number("tokenizer.ggml.bos_token_id", tokens.size() - 1);
        number("tokenizer.ggml.eos_token_id", tokens.size() - 1);
    }

    private void tensors() {
        tensor("token_embd.weight", Q8_0, tokens.size(), HIDDEN);
        tensor("output_norm.weight", F32, HIDDEN);
        for (String norm : new String[] {"attn_norm", "ffn_norm"}) {
            tensor("blk.0." + norm + ".weight", F32, HIDDEN);
        }
        tensor("blk.0.attn_q.weight", Q8_0, HIDDEN, HIDDEN);
        tensor("blk.0.attn_k.weight", Q8_0, HIDDEN / 2, HIDDEN);
        tensor("blk.0.attn_v.weight", Q8_0, HIDDEN / 2, HIDDEN);
        tensor("blk.0.attn_output.weight", Q8_0, HIDDEN, HIDDEN);
        tensor("blk.0.ffn_gate.weight", Q8_0, FFN, HIDDEN);
        tensor("blk.0.ffn_up.weight", Q8_0, FFN, HIDDEN);
        tensor("blk.0.ffn_down.weight", Q8_0, HIDDEN, FFN);
    }

    private void tensor(String name, int type, long... shape) {
        long elements = 1;
        for (long length : shape) {
            elements *= length;
        }
        tensors.add(new Entry(name, type, shape, Math.toIntExact(type == F32 ? 4 * elements : elements / 32 * 34)));
    }

    private void text(String key, String value) {
        byte[] utf8 = value.getBytes(StandardCharsets.UTF_8);
        key(key, STRING, buffer(8 + utf8.length).putLong(utf8.length).put(utf8));
    }

    private void number(String key, int value) {
        key(key, UINT32, buffer(4).putInt(value));
    }

    private void strings(String key, List<String> values) {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        all.writeBytes(buffer(12).putInt(STRING).putLong(values.size()).array());
        for (String value : values) {
            byte[] utf8 = value.getBytes(StandardCharsets.UTF_8);
            all.writeBytes(buffer(8).putLong(utf8.length).array());
            all.writeBytes(utf8);
        }
        key(key, ARRAY, ByteBuffer.wrap(all.toByteArray()));
    }

    private void key(String name, int type, ByteBuffer value) {
        byte[] utf8 = name.getBytes(StandardCharsets.UTF_8);
        keys.writeBytes(buffer(8).putLong(utf8.length).array());
        keys.writeBytes(utf8);
        keys.writeBytes(buffer(4).putInt(type).array());
        keys.writeBytes(value.array());
        numKeys++;
    }

    private byte[] bytes() {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes("GGUF".getBytes(StandardCharsets.US_ASCII));
        out.writeBytes(buffer(20).putInt(3).putLong(tensors.size()).putLong(numKeys).array());
        out.writeBytes(keys.toByteArray());
        long offset = 0;
        for (Entry tensor : tensors) {
            byte[] name = tensor.name().getBytes(StandardCharsets.UTF_8);
            out.writeBytes(buffer(8).putLong(name.length).array());
            out.writeBytes(name);
            out.writeBytes(buffer(4).putInt(tensor.shape().length).array());
            for (int d = tensor.shape().length - 1; d >= 0; d--) {
                out.writeBytes(buffer(8).putLong(tensor.shape()[d]).array());
            }
            out.writeBytes(buffer(12).putInt(tensor.type()).putLong(offset).array());
            offset = padded(offset + tensor.bytes());
        }
        out.writeBytes(new byte[(int) (padded(out.size()) - out.size())]);
        for (Entry tensor : tensors) {
            out.writeBytes(new byte[(int) padded(tensor.bytes())]);
        }
        return out.toByteArray();
    }

    private static long padded(long bytes) {
        return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    private static ByteBuffer buffer(int bytes) {
        return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    }
}
