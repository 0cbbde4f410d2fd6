package io.millrace.server.console;

import java.io.PrintStream;

/** A line on a terminal that shows how far something is; silent where standard error is no terminal. Thread-safe. */
public final class ProgressBar implements AutoCloseable {
    private static final int WIDTH = 30;
    private static final long REDRAW_NANOS = 100_000_000L;

    private final PrintStream out = System.err;
    private final boolean shown = System.console() != null && System.console().isTerminal();
    private final String label;
    private final int total;
    private final long start = System.nanoTime();
    private long lastDrawn;

    public ProgressBar(String label, int total) {
        this.label = label;
        this.total = total;
    }

    public synchronized void update(int done) {
        long now = System.nanoTime();
        if (!shown || (done < total && now - lastDrawn < REDRAW_NANOS)) {
            return;
        }
        lastDrawn = now;
        int filled = (int) ((long) done * WIDTH / total);
        double seconds = (now - start) / 1e9;
        out.printf("\r%s [%s%s] %d/%d  %.0f s%s\033[K", label, "#".repeat(filled), ".".repeat(WIDTH - filled), done, total, seconds,
                done == 0 || done == total ? "" : String.format(", about %.0f s left", seconds / done * (total - done)));
        out.flush();
    }

    @Override
    public synchronized void close() {
        if (shown) {
            out.print("\r\033[K");
            out.flush();
        }
    }
}
