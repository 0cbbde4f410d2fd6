package io.millrace.engine.text;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import io.millrace.engine.EngineException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * Owns one tokenizer of Hugging Face's Rust library. It calls the JNI layer of {@code ai.djl.huggingface:tokenizers} without DJL's engine
 * above it, which would look for CUDA, download and report home. Thread-safe; calls share a lock that only {@link #close} takes alone, since
 * a handle used after it is freed would crash the process.
 */
final class NativeTokenizer implements TextEncoder {
    private static final int UNKNOWN_ID = -1;

    private final TokenizersLibrary library;
    private final ReadWriteLock lock = new ReentrantReadWriteLock();
    private final Map<Integer, Integer> libraryToFile;
    private final Map<Integer, Integer> fileToLibrary = new HashMap<>();
    private long handle;

    /**
     * @param libraryToFile ids that the library numbers otherwise than the file, see {@link TokenizerFile#renumberedByLibrary}
     * @throws RuntimeException from the Rust library, with its reason, where the JSON is not a tokenizer it knows
     */
    NativeTokenizer(String json, Map<Integer, Integer> libraryToFile) {
        this.libraryToFile = libraryToFile;
        libraryToFile.keySet().forEach(id -> fileToLibrary.put(id, UNKNOWN_ID));
        libraryToFile.forEach((libraryId, fileId) -> fileToLibrary.put(fileId, libraryId));
        TokenizersNativeLibrary.load();
        library = TokenizersLibrary.LIB;
        handle = library.createTokenizerFromString(json);
        if (handle == 0) {
            throw new IllegalArgumentException("the tokenizers library refused it without a reason");
        }
        // A length limit or padding written into the file is a training habit; a server must see every token.
        library.disableTruncation(handle);
        library.disablePadding(handle);
    }

    @Override
    public int[] encode(String text, boolean addSpecialTokens) {
        lock.readLock().lock();
        try {
            requireOpen();
            long encoding = library.encode(handle, text, addSpecialTokens);
            try {
                long[] wide = library.getTokenIds(encoding);
                int[] ids = new int[wide.length];
                for (int i = 0; i < wide.length; i++) {
                    ids[i] = (int) wide[i];
                }
                if (!libraryToFile.isEmpty()) {
                    Arrays.setAll(ids, i -> libraryToFile.getOrDefault(ids[i], ids[i]));
                }
                return ids;
            } finally {
                library.deleteEncoding(encoding);
            }
        } finally {
            lock.readLock().unlock();
        }
    }

    String decode(int[] ids, int begin, int end, boolean skipSpecialTokens) {
        long[] wide = new long[end - begin];
        for (int i = begin; i < end; i++) {
            int id = fileToLibrary.isEmpty() ? ids[i] : fileToLibrary.getOrDefault(ids[i], ids[i]);
            wide[i - begin] = Integer.toUnsignedLong(id);
        }
        lock.readLock().lock();
        try {
            requireOpen();
            return library.decode(handle, wide, skipSpecialTokens);
        } finally {
            lock.readLock().unlock();
        }
    }

    private void requireOpen() {
        if (handle == 0) {
            throw new EngineException("TOK-005", "the tokenizer is closed; keep the model open while requests use it");
        }
    }

    @Override
    public void close() {
        lock.writeLock().lock();
        try {
            if (handle != 0) {
                library.deleteTokenizer(handle);
                handle = 0;
            }
        } finally {
            lock.writeLock().unlock();
        }
    }
}
