package io.millrace.server.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.SocketTimeoutException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/** Requests to a server with OpenAI's API. Thread-safe; connections are kept and used again. */
public final class OpenAiClient implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final URI base;
    private final Map<String, String> headers = new LinkedHashMap<>();
    private final Duration timeout;
    private final ArrayDeque<HttpConnection> idle = new ArrayDeque<>();

    /**
     * What came of a streamed request.
     *
     * @param error        null if it was answered to the end
     * @param sentNanos    when sending began, a connection to be opened included: the point from which the next two count
     * @param ttftNanos    to the first chunk with text; 0 if there was none
     * @param e2eNanos     to the end of the stream
     * @param gapNanos     from each chunk with text to the next
     * @param promptTokens as the server counted, or -1
     * @param outputTokens as the server counted, otherwise chunks with text
     */
    public record Streamed(String error, long sentNanos, long ttftNanos, long e2eNanos, long[] gapNanos, int promptTokens, int outputTokens,
            String text) {}

    /** @param base such as {@code http://127.0.0.1:8000}, with or without {@code /v1} */
    public OpenAiClient(URI base, String apiKey, Duration timeout) {
        String text = base.toString().replaceFirst("/(v1/?)?$", "");
        this.base = URI.create(text);
        this.timeout = timeout;
        if (apiKey != null && !apiKey.isEmpty()) {
            headers.put("Authorization", "Bearer " + apiKey);
        }
    }

    /** The first model that {@code /v1/models} names. */
    public String firstModel() throws IOException {
        JsonNode models = get("/v1/models").path("data");
        if (models.isEmpty()) {
            throw new IOException(base + "/v1/models names no model");
        }
        return models.get(0).path("id").asText();
    }

    public JsonNode get(String path) throws IOException {
        return exchange(path, null);
    }

    public JsonNode post(String path, JsonNode body) throws IOException {
        return exchange(path, JSON.writeValueAsBytes(body));
    }

    private JsonNode exchange(String path, byte[] body) throws IOException {
        Sent sent = send(path, body);
        HttpConnection.Response response = sent.response();
        boolean whole = false;
        try {
            byte[] answer = response.body().readAllBytes();
            whole = true;
            if (response.status() != 200) {
                throw new IOException("HTTP " + response.status() + " from " + path + ": " + excerpt(answer));
            }
            return JSON.readTree(answer);
        } finally {
            giveBack(sent.connection(), whole);
        }
    }

    /** Sends {@code request}, which must ask for a stream, and reads it to its end. */
    public Streamed stream(String path, byte[] request) {
        long start = System.nanoTime();
        Sent sent = null;
        boolean whole = false;
        try {
            sent = send(path, request);
            HttpConnection.Response response = sent.response();
            if (response.status() != 200) {
                String body = excerpt(response.body().readAllBytes());
                whole = true;
                return failed("HTTP " + response.status() + ": " + body, start);
            }
            Streamed result = read(response, start);
            whole = result.error() == null;
            return result;
        } catch (IOException | RuntimeException e) {
            return failed(e.getClass().getSimpleName() + ": " + e.getMessage(), start);
        } finally {
            if (sent != null) {
                giveBack(sent.connection(), whole);
            }
        }
    }

    private static Streamed read(HttpConnection.Response response, long start) throws IOException {
        BufferedReader lines = new BufferedReader(new InputStreamReader(response.body(), StandardCharsets.UTF_8), 8 * 1024);
        StringBuilder text = new StringBuilder();
        long first = 0;
        long previous = 0;
        int chunks = 0;
        long[] gaps = new long[64];
        int promptTokens = -1;
        int outputTokens = -1;
        boolean done = false;
        String line;
        while ((line = lines.readLine()) != null) {
            if (!line.startsWith("data:") || done) {
                continue;
            }
            String data = line.substring(5).strip();
            if (data.equals("[DONE]")) {
                done = true;
                continue;
            }
            long now = System.nanoTime();
            JsonNode event = JSON.readTree(data);
            if (event.has("error")) {
                return failed("in the stream: " + event.get("error"), start);
            }
            JsonNode choice = event.path("choices").path(0);
            String piece = choice.path("text").asText(choice.path("delta").path("content").asText(""));
            if (!piece.isEmpty()) {
                text.append(piece);
                if (chunks == 0) {
                    first = now;
                } else {
                    gaps = chunks > gaps.length ? Arrays.copyOf(gaps, 2 * gaps.length) : gaps;
                    gaps[chunks - 1] = now - previous;
                }
                chunks++;
                previous = now;
            }
            JsonNode usage = event.path("usage");
            if (usage.isObject()) {
                promptTokens = usage.path("prompt_tokens").asInt(promptTokens);
                outputTokens = usage.path("completion_tokens").asInt(outputTokens);
            }
        }
        if (!done) {
            return failed("the stream ended without [DONE]", start);
        }
        return new Streamed(null, start, chunks == 0 ? 0 : first - start, System.nanoTime() - start,
                Arrays.copyOf(gaps, Math.max(0, chunks - 1)), promptTokens, outputTokens >= 0 ? outputTokens : chunks, text.toString());
    }

    private static Streamed failed(String why, long start) {
        return new Streamed(why, start, 0, System.nanoTime() - start, new long[0], -1, 0, "");
    }

    private static String excerpt(byte[] body) {
        String text = new String(body, StandardCharsets.UTF_8).strip();
        return text.length() <= 300 ? text : text.substring(0, 300) + "...";
    }

    /** A request on its way: the body of the response is still to be read. */
    private record Sent(HttpConnection connection, HttpConnection.Response response) {}

    /**
     * Sends on a connection that was used before, if there is one. A server may close such a connection at any time; if it did before it
     * answered anything, the request goes out once more on a new one (RFC 9112, section 9.3.1).
     */
    private Sent send(String path, byte[] body) throws IOException {
        HttpConnection kept;
        synchronized (idle) {
            kept = idle.pollLast();
        }
        if (kept != null) {
            try {
                return new Sent(kept, kept.send(base.getPath() + path, headers, body));
            } catch (SocketTimeoutException e) {
                kept.close();
                throw e;
            } catch (IOException e) {
                kept.close();
                if (kept.isAnswering()) {
                    throw e;
                }
            }
        }
        HttpConnection fresh = new HttpConnection(base, timeout);
        try {
            return new Sent(fresh, fresh.send(base.getPath() + path, headers, body));
        } catch (IOException | RuntimeException e) {
            fresh.close();
            throw e;
        }
    }

    private void giveBack(HttpConnection connection, boolean whole) {
        if (whole && connection.isReusable()) {
            synchronized (idle) {
                idle.addLast(connection);
            }
        } else {
            connection.close();
        }
    }

    /** A JSON object to fill. */
    public static ObjectNode object() {
        return JSON.createObjectNode();
    }

    /** The bytes to send for {@code body}. */
    public static byte[] bytes(JsonNode body) {
        try {
            return JSON.writeValueAsBytes(body);
        } catch (IOException e) {
            throw new IllegalArgumentException(e);
        }
    }

    @Override
    public void close() {
        synchronized (idle) {
            idle.forEach(HttpConnection::close);
            idle.clear();
        }
    }
}
