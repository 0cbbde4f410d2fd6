package io.millrace.bindings.cuda;

import io.millrace.bindings.CacheFolder;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;

/**
 * Which algorithm is the fastest for a product on this device, measured once and kept in a file: the library's first choice often is not.
 * A line is {@code key TAB algorithm in hexadecimal TAB microseconds}; the key names the library's version, the device, the shape and the
 * workspace, so that a file may serve several. What cannot be read, or is no algorithm any more, is measured again. Not safe for threads.
 */
public final class MatmulTimings {
    private static final int CANDIDATES = 16;
    private static final int RUNS = 5;
    private static final String HEADER = "# millrace: algorithms of cuBLASLt by measured time, 1";

    private final Path file;
    private final String device;
    private final Map<String, String> lines = new TreeMap<>();
    private int measured;

    /**
     * @param file   need not exist; in a folder that only this user can write, since the library believes what stands there
     * @param device name and number of multiprocessors, say
     * @throws IOException if others could write the folder
     */
    public MatmulTimings(Path file, String device) throws IOException {
        this.file = file;
        this.device = device.replace('\t', ' ');
        CacheFolder.requirePrivate(file.toAbsolutePath().getParent());
        if (Files.isRegularFile(file)) {
            for (String line : new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1).split("\n")) {
                String[] columns = line.split("\t");
                if (columns.length == 3) {
                    lines.put(columns[0], columns[1] + "\t" + columns[2]);
                }
            }
        }
    }

    /** How many products were measured rather than found in the file. */
    public int measured() {
        return measured;
    }

    /**
     * Gives the product its fastest algorithm. Where that is not known yet it is measured, with the caller's buffers: {@code out} is
     * overwritten, and nothing else should run on the device.
     *
     * @param workspace as for {@link Matmul#run}
     */
    public void choose(CudaDriver driver, CublasLt library, Matmul product, long weight, long x, long out, long workspace, long stream) {
        String key = library.version() + "," + device + "," + product.shape().key() + "," + product.workspaceBytes();
        byte[] known = known(key);
        if (known != null && product.accepts(known)) {
            product.use(known);
            return;
        }
        long begin = driver.createEvent(true);
        long end = driver.createEvent(true);
        byte[] best = null;
        float bestMillis = Float.POSITIVE_INFINITY;
        try {
            for (byte[] candidate : product.candidates(CANDIDATES)) {
                product.use(candidate);
                product.run(weight, x, out, workspace, stream);
                float[] millis = new float[RUNS];
                for (int i = 0; i < RUNS; i++) {
                    driver.record(begin, stream);
                    product.run(weight, x, out, workspace, stream);
                    driver.record(end, stream);
                    driver.synchronizeEvent(end);
                    millis[i] = driver.elapsedMillis(begin, end);
                }
                Arrays.sort(millis);
                if (millis[RUNS / 2] < bestMillis) {
                    bestMillis = millis[RUNS / 2];
                    best = candidate;
                }
            }
        } finally {
            driver.destroyEvent(begin);
            driver.destroyEvent(end);
        }
        product.use(best);
        measured++;
        lines.put(key, HexFormat.of().formatHex(best) + "\t" + Math.round(1000 * bestMillis));
    }

    private byte[] known(String key) {
        String line = lines.get(key);
        if (line == null) {
            return null;
        }
        try {
            byte[] algorithm = HexFormat.of().parseHex(line.substring(0, line.indexOf('\t')));
            return algorithm.length == Matmul.ALGORITHM_BYTES ? algorithm : null;
        } catch (IllegalArgumentException damaged) {
            return null;
        }
    }

    /** Writes the file, if anything was measured. */
    public void save() throws IOException {
        if (measured == 0) {
            return;
        }
        StringBuilder text = new StringBuilder(HEADER).append('\n');
        lines.forEach((key, value) -> text.append(key).append('\t').append(value).append('\n'));
        Path partial = Files.createTempFile(file.toAbsolutePath().getParent(), "timings", ".part");
        try {
            Files.writeString(partial, text, StandardCharsets.ISO_8859_1);
            Files.move(partial, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(partial);
        }
    }
}
