package io.millrace.server.http;

import io.millrace.server.openai.ApiException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;

/**
 * Bounds what request bodies may take before the scheduler knows them: bytes held at once, and large bodies parsed and tokenized at
 * once. Small ones pass without waiting. Thread-safe.
 */
final class Intake {
    /** Bodies up to this are parsed in about a millisecond. */
    private static final int SMALL_BYTES = 64 * 1024;
    /** Bytes of syntax tree that a byte of a hostile body ({@code {},{},...}) can make. */
    private static final int TREE_FACTOR = 27;

    private final long maxBytes;
    private final AtomicLong bytes = new AtomicLong();
    private final Semaphore large;

    /**
     * @param maxBytes     of bodies held at once
     * @param maxBodyBytes of one
     * @param maxHeapBytes of the process
     */
    Intake(long maxBytes, long maxBodyBytes, long maxHeapBytes) {
        this.maxBytes = maxBytes;
        // Parsing and tokenizing never yield their core: half of the cores stay free for those who only write tokens.
        long byHeap = maxHeapBytes / 4 / (TREE_FACTOR * maxBodyBytes);
        large = new Semaphore((int) Math.clamp(byHeap, 1, Math.max(1, Runtime.getRuntime().availableProcessors() / 2)), true);
    }

    /** The part of one connection's body that is here; what it holds is given back when closed. */
    final class Body implements AutoCloseable {
        private long held;

        /** @throws ApiException 503 if too many bytes are held already: waiting for room while holding some could last for ever */
        void add(int count) {
            held += count;
            if (bytes.addAndGet(count) > maxBytes) {
                throw ApiException.unavailable("server_busy", "The request bodies being read have together more than "
                        + maxBytes + " bytes; try again in 1 s.", 1);
            }
        }

        /** Runs {@code parse}; of large bodies only a few at once. */
        <T> T parse(byte[] body, Function<byte[], T> parse) {
            if (body.length <= SMALL_BYTES) {
                return parse.apply(body);
            }
            large.acquireUninterruptibly();
            try {
                return parse.apply(body);
            } finally {
                large.release();
            }
        }

        @Override
        public void close() {
            bytes.addAndGet(-held);
            held = 0;
        }
    }

    /** Of all bodies that are being read or parsed now. */
    long heldBytes() {
        return bytes.get();
    }

    Body open() {
        return new Body();
    }
}
