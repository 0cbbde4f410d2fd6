package io.millrace.server.http;

import io.helidon.common.buffers.DataReader;
import io.helidon.http.HeaderName;
import io.helidon.http.HeaderNames;
import io.helidon.http.HeaderValues;
import io.helidon.http.Method;
import io.helidon.http.RequestException;
import io.helidon.http.Status;
import io.helidon.webserver.CloseConnectionException;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import io.millrace.server.anthropic.MessagesError;
import io.millrace.server.openai.ApiException;
import io.millrace.server.openai.JsonBuffer;
import io.millrace.telemetry.HttpMetrics;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;

/** One request and its answer, as the routes see them. */
final class Exchange {
    private static final HeaderName REQUEST_ID = HeaderNames.create("X-Request-Id");
    private static final int MAX_REQUEST_ID = 128;
    private static final String JSON = "application/json";
    /** Where clients speak Anthropic's protocol, errors included. */
    private static final String MESSAGES = "/v1/messages";
    private static final HeaderName API_KEY = HeaderNames.create("x-api-key");

    private final ServerRequest request;
    private final ServerResponse response;
    private final String method;
    private final String path;
    private int status;
    private int tenant;

    Exchange(ServerRequest request, ServerResponse response) {
        this.request = request;
        this.response = response;
        this.method = request.prologue().method().text();
        String decoded = request.path().path();
        if (asksForClose(request)) {
            response.header(HeaderValues.CONNECTION_CLOSE);
        }
        this.path = decoded.length() > 1 && decoded.endsWith("/") ? decoded.substring(0, decoded.length() - 1) : decoded;
        header(REQUEST_ID).filter(Exchange::isSafeId).ifPresent(id -> response.header(REQUEST_ID, id));
    }

    void setTenant(int value) {
        tenant = value;
    }

    /** The number of the API key that the request came with. */
    int tenant() {
        return tenant;
    }

    String method() {
        return method;
    }

    /** Decoded, without a trailing slash. */
    String path() {
        return path;
    }

    /** The {@code Authorization} header, or what it would be with the key of Anthropic's header; null without either. */
    String authorization() {
        return header(HeaderNames.AUTHORIZATION).or(() -> header(API_KEY).map(key -> "Bearer " + key)).orElse(null);
    }

    java.util.Optional<String> header(HeaderName name) {
        return request.headers().contains(name) ? java.util.Optional.of(request.headers().get(name).get()) : java.util.Optional.empty();
    }

    /** The whole body, counted into {@code held} as it comes. Refuses bodies that say they are something else than JSON; no content type at all is taken as JSON. */
    byte[] jsonBody(long maxBytes, Intake.Body held) {
        String type = header(HeaderNames.CONTENT_TYPE).orElse(JSON);
        int end = type.indexOf(';');
        String media = (end < 0 ? type : type.substring(0, end)).trim();
        if (!media.equalsIgnoreCase(JSON) && !media.regionMatches(true, media.length() - 5, "+json", 0, 5)) {
            throw new ApiException(415, "invalid_request_error", "unsupported_media_type", null,
                    "The content type is `" + media + "`; this endpoint takes application/json: send -H 'Content-Type: application/json'.", 0);
        }
        if (!request.content().hasEntity()) {
            throw ApiException.badRequest("invalid_json", null, "The request body is empty; a JSON object is expected.");
        }
        // Not closed here: closing reads on, and what broke the reading would break that too.
        InputStream in = request.content().inputStream();
        try {
            long length = request.headers().contentLength().orElse(0);
            ByteArrayOutputStream body = new ByteArrayOutputStream(Math.clamp(length, 512, 1 << 20));
            byte[] chunk = new byte[8192];
            for (int n; (n = in.read(chunk)) >= 0; ) {
                if (body.size() + (long) n > maxBytes) {
                    throw tooLarge(maxBytes);
                }
                held.add(n);
                body.write(chunk, 0, n);
            }
            ClientConnection.current().requestRead();
            return body.toByteArray();
        } catch (ApiException e) {
            response.header(HeaderValues.CONNECTION_CLOSE); // the rest is not read
            throw e;
        } catch (RequestException e) {
            response.header(HeaderValues.CONNECTION_CLOSE); // where the next request would begin is unknown
            throw e.status().code() == 413 ? tooLarge(maxBytes)
                    : ApiException.badRequest("bad_http_request", null, "The request body could not be read: " + e.getMessage());
        } catch (IOException | UncheckedIOException | DataReader.InsufficientDataAvailableException e) {
            throw new CloseConnectionException("the request body ended early", e);
        }
    }

    static ApiException tooLarge(long maxBytes) {
        return new ApiException(413, "invalid_request_error", "request_too_large", null,
                "The request body is larger than the limit of " + maxBytes + " bytes.", 0);
    }

    private static boolean asksForClose(ServerRequest request) {
        if (request.headers().contains(HeaderNames.CONNECTION)) {
            for (String option : request.headers().get(HeaderNames.CONNECTION).get().split(",")) {
                if (option.trim().equalsIgnoreCase("close")) {
                    return true;
                }
            }
        }
        return false;
    }

    boolean hasEntity() {
        return request.content().hasEntity();
    }

    /** Of the answer, 0 while there is none. */
    int status() {
        return status;
    }

    SseWriter openStream(HttpMetrics metrics) {
        status = 200;
        return SseWriter.open(response, metrics);
    }

    ServerResponse response() {
        return response;
    }

    void sendJson(JsonBuffer body) {
        start(200, JSON);
        if (request.prologue().method().equals(Method.HEAD)) {
            response.send();
        } else {
            response.send(body.array(), 0, body.size());
        }
    }

    void send(int status, String contentType, byte[] body) {
        start(status, contentType);
        if (request.prologue().method().equals(Method.HEAD)) {
            response.send();
        } else {
            response.send(body);
        }
    }

    private void start(int status, String contentType) {
        this.status = status;
        response.status(Status.create(status));
        response.header(HeaderNames.CONTENT_TYPE, contentType);
    }

    void sendError(ApiException error) {
        JsonBuffer body = new JsonBuffer(256);
        if (path.equals(MESSAGES) || path.startsWith(MESSAGES + "/")) {
            MessagesError.write(error, body);
        } else {
            error.writeTo(body);
        }
        if (error.retryAfterSeconds() > 0) {
            response.header(HeaderNames.RETRY_AFTER, Integer.toString(error.retryAfterSeconds()));
        }
        if (error.status() == 401) {
            response.header(HeaderNames.WWW_AUTHENTICATE, "Bearer");
        }
        send(error.status(), JSON, body.toByteArray());
    }

    /** Header injection and log forging are kept out; anything unusual is just not echoed. */
    private static boolean isSafeId(String id) {
        return !id.isEmpty() && id.length() <= MAX_REQUEST_ID && id.chars().allMatch(c -> c > 0x20 && c < 0x7f);
    }
}
