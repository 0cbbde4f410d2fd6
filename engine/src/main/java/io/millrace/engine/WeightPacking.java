package io.millrace.engine;

import io.millrace.kernels.Backend;
import java.util.Locale;

/**
 * Brings the weights that loading left in the mapped file into the backend's own memory, in slices between steps, and closes the file when
 * that is done. Until then the file must not be written to or cut: a page that is gone ends the process. Used by the engine thread.
 */
final class WeightPacking implements AutoCloseable {
    private static final System.Logger LOG = System.getLogger("io.millrace.engine");
    /** What a request may have to wait for a slice. */
    private static final long SLICE_NANOS = 10_000_000;
    private static final long LEAST_BYTES = 1 << 20;
    private static final long MOST_BYTES = 256L << 20;
    /** From here on packing takes some tenths of a second. */
    static final long NOTABLE_BYTES = 64L << 20;

    private final Backend backend;
    private final long bytes;
    private final long startNanos = System.nanoTime();
    private long sliceBytes = 4 << 20;
    /** Null when all is done. */
    private Runnable source;

    /** @param source closes what the backend borrows weights from; called once */
    WeightPacking(Backend backend, Runnable source) {
        this.backend = backend;
        this.bytes = backend.bytesToPack();
        this.source = source;
        if (bytes == 0) {
            close();
        }
    }

    /** One slice. @return whether there is more */
    boolean some() {
        if (source == null) {
            return false;
        }
        long before = backend.bytesToPack();
        long start = System.nanoTime();
        long left = backend.packSome(sliceBytes);
        double nanosPerByte = (double) Math.max(1, System.nanoTime() - start) / Math.max(1, before - left);
        // The first touch of memory is uneven work: no more than twice as much at once.
        sliceBytes = Math.clamp((long) (SLICE_NANOS / nanosPerByte), LEAST_BYTES, Math.min(MOST_BYTES, 2 * sliceBytes));
        endIfDone();
        return source != null;
    }

    /** After a step, which may have packed the last ones. */
    void endIfDone() {
        if (source != null && backend.bytesToPack() == 0) {
            close();
            // Of a small model nobody needs to know: it is done within the first steps.
            LOG.log(bytes < NOTABLE_BYTES ? System.Logger.Level.DEBUG : System.Logger.Level.INFO, String.format(Locale.ROOT, "all weights packed, %s, %.1f s after the model was loaded; its file is closed",
                    MemoryPlan.bytes(bytes), (System.nanoTime() - startNanos) / 1e9));
        }
    }

    /** The backend must not be used afterwards, unless all is packed. */
    @Override
    public void close() {
        Runnable closing = source;
        source = null;
        if (closing != null) {
            closing.run();
        }
    }
}
