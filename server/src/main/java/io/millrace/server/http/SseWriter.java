package io.millrace.server.http;

import io.helidon.http.HeaderNames;
import io.helidon.webserver.ServerConnectionException;
import io.helidon.webserver.http.ServerResponse;
import io.millrace.server.openai.JsonBuffer;
import io.millrace.telemetry.HttpMetrics;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;

/** A response of server-sent events: each write goes to the socket at once. */
final class SseWriter implements AutoCloseable {
    private static final byte[] PING = ": ping\n\n".getBytes(StandardCharsets.US_ASCII);
    private final OutputStream out;
    private final HttpMetrics metrics;

    private SseWriter(OutputStream out, HttpMetrics metrics) {
        this.out = out;
        this.metrics = metrics;
        metrics.streamOpened();
    }

    static SseWriter open(ServerResponse response, HttpMetrics metrics) {
        response.header(HeaderNames.CONTENT_TYPE, "text/event-stream; charset=utf-8");
        response.header(HeaderNames.CACHE_CONTROL, "no-cache");
        // Proxies of the nginx family would otherwise collect events before passing them on.
        response.header(HeaderNames.create("X-Accel-Buffering"), "no");
        return new SseWriter(response.outputStream(), metrics);
    }

    /** @param events complete events, framing included */
    void write(JsonBuffer events) {
        write(events.array(), events.size());
    }

    /** A comment: keeps proxies from cutting a stream that has nothing to say yet. */
    void ping() {
        write(PING, PING.length);
    }

    /** The stream has ended, well or not; the server closes the response itself. */
    @Override
    public void close() {
        metrics.streamClosed();
    }

    private void write(byte[] bytes, int length) {
        try {
            out.write(bytes, 0, length);
            out.flush();
            metrics.recordSseBytes(length);
        } catch (IOException e) {
            throw new ServerConnectionException("the client went away", e);
        }
    }
}
