package io.millrace.server.bench;

import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntFunction;

/**
 * A server on a free local port that answers the n-th request with the n-th script: bytes and pauses, nothing understood. What a
 * client measures can be compared with the pauses, which are never shorter than scripted.
 */
final class ScriptedServer implements AutoCloseable {
    /** Writes {@code text}, each answer's framing included, after a pause. */
    record Part(int pauseMillis, String text) {}

    static final String HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    static final String DONE = chunk("data: [DONE]\n\n");
    static final String END = "0\r\n\r\n";

    private final ServerSocket socket = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    private final IntFunction<List<Part>> scripts;
    private final AtomicInteger numRequests = new AtomicInteger();
    private final AtomicInteger numConnections = new AtomicInteger();

    /** @param scripts the answer to request n, from 0, in order of arrival */
    ScriptedServer(IntFunction<List<Part>> scripts) throws IOException {
        this.scripts = scripts;
        Thread.ofVirtual().start(() -> {
            while (!socket.isClosed()) {
                try {
                    Socket connection = socket.accept();
                    numConnections.incrementAndGet();
                    Thread.ofVirtual().start(() -> serve(connection));
                } catch (IOException e) {
                    return; // closed
                }
            }
        });
    }

    /** A chunk of a chunked body. */
    static String chunk(String text) {
        return Integer.toHexString(text.getBytes(StandardCharsets.UTF_8).length) + "\r\n" + text + "\r\n";
    }

    /** The event of a completion chunk. */
    static String text(String piece) {
        return "data: {\"choices\":[{\"index\":0,\"text\":\"" + piece + "\"}]}\n\n";
    }

    static String usage(int prompt, int completion) {
        return "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":" + prompt + ",\"completion_tokens\":" + completion + "}}\n\n";
    }

    URI uri() {
        return URI.create("http://127.0.0.1:" + socket.getLocalPort());
    }

    int numConnections() {
        return numConnections.get();
    }

    private void serve(Socket connection) {
        try (connection) {
            InputStream in = new BufferedInputStream(connection.getInputStream());
            OutputStream out = connection.getOutputStream();
            connection.setTcpNoDelay(true);
            while (readRequest(in)) {
                for (Part part : scripts.apply(numRequests.getAndIncrement())) {
                    long until = System.nanoTime() + part.pauseMillis() * 1_000_000L;
                    while (until - System.nanoTime() > 0) {
                        LockSupport.parkNanos(until - System.nanoTime());
                    }
                    if (part.text() == null) {
                        return;
                    }
                    out.write(part.text().getBytes(StandardCharsets.UTF_8));
                    out.flush();
                }
            }
        } catch (IOException e) {
            // The client has gone: what it makes of that is the test's business.
        }
    }

    private static boolean readRequest(InputStream in) throws IOException {
        StringBuilder head = new StringBuilder();
        while (head.length() < 4 || !head.substring(head.length() - 4).equals("\r\n\r\n")) {
            int b = in.read();
            if (b < 0) {
                return false;
            }
            head.append((char) b);
        }
        int length = 0;
        for (String line : head.toString().split("\r\n")) {
            if (line.toLowerCase(java.util.Locale.ROOT).startsWith("content-length:")) {
                length = Integer.parseInt(line.substring(15).strip());
            }
        }
        return in.readNBytes(length).length == length;
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
