package io.millrace.kernels.cuda;

import io.millrace.bindings.cuda.CudaDriver;
import io.millrace.bindings.cuda.CudaException;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;

/**
 * A program's launches captured as graphs, one for each size of a batch in which every sequence has one token. Captured once; a step of fewer
 * rows runs the next larger graph, whose blocks beyond its rows end at once.
 */
final class DecodeGraphs implements AutoCloseable {
    static final DecodeGraphs NONE = new DecodeGraphs(null, new int[0], new long[0]);

    private final CudaDriver driver;
    private final int[] rows;
    private final long[] executables;

    private DecodeGraphs(CudaDriver driver, int[] rows, long[] executables) {
        this.driver = driver;
        this.rows = rows;
        this.executables = executables;
    }

    /** Batch sizes that have a graph, up to the first that holds {@code most}. */
    static int[] sizes(int most) {
        IntPredicate some = n -> n <= 2 || n <= 16 && n % 4 == 0 || n <= 64 && n % 8 == 0 && (n <= 32 || n % 16 == 0) || n <= 256 && n % 32 == 0
                || n % 64 == 0;
        List<Integer> sizes = new ArrayList<>(IntStream.rangeClosed(1, most).filter(some).boxed().toList());
        if (sizes.getLast() < most) {
            sizes.add(most);
        }
        return sizes.stream().mapToInt(Integer::intValue).toArray();
    }

    static DecodeGraphs capture(CudaDriver driver, long stream, CudaLaunch[] launches, int maxSequences, int maxLogitRows) {
        int[] sizes = sizes(maxSequences);
        long[] executables = new long[sizes.length];
        DecodeGraphs graphs = new DecodeGraphs(driver, sizes, executables);
        StepCounts counts = new StepCounts();
        try {
            for (int i = 0; i < sizes.length; i++) {
                counts.decode(sizes[i], maxLogitRows);
                long graph = capture(driver, stream, launches, counts);
                try {
                    executables[i] = driver.instantiate(graph);
                } finally {
                    driver.destroyGraph(graph);
                }
                driver.uploadGraph(executables[i], stream);
            }
            driver.synchronize(stream);
            return graphs;
        } catch (RuntimeException | Error e) {
            graphs.close();
            throw e;
        }
    }

    /** A launch that fails ends the capture, and is what is told. */
    private static long capture(CudaDriver driver, long stream, CudaLaunch[] launches, StepCounts counts) {
        driver.beginCapture(stream);
        try {
            for (CudaLaunch launch : launches) {
                launch.enqueue(driver, counts);
            }
        } catch (RuntimeException | Error e) {
            try {
                driver.destroyGraph(driver.endCapture(stream));
            } catch (CudaException second) {
                e.addSuppressed(second);
            }
            throw e;
        }
        return driver.endCapture(stream);
    }

    int count() {
        return rows.length;
    }

    /** The graph for a step of decode; 0 where there is none and the step is launched piece by piece. */
    long executable(StepCounts counts) {
        if (counts.chunks > 0 || counts.tokens == 0 || counts.logitRows > counts.tokens) {
            return 0;
        }
        for (int i = 0; i < rows.length; i++) {
            if (counts.tokens <= rows[i]) {
                return executables[i];
            }
        }
        return 0;
    }

    @Override
    public void close() {
        for (int i = 0; i < executables.length; i++) {
            if (executables[i] != 0) {
                driver.destroyExecutable(executables[i]);
                executables[i] = 0;
            }
        }
    }
}
