package io.millrace.server.openai;

import java.util.Objects;

/**
 * A refusal or failure as the client sees it: HTTP status and the four members of OpenAI's error object.
 *
 * <p>No stack trace is kept: these are answers, not faults of this program.
 */
public final class ApiException extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final int status;
    private final String type;
    private final String code;
    private final String param;
    private final int retryAfterSeconds;

    /** @param param             the request field concerned, or null
     *  @param code              a stable word for programs; {@code docs/errors.md} lists them
     *  @param retryAfterSeconds 0 = no {@code Retry-After} */
    public ApiException(int status, String type, String code, String param, String message, int retryAfterSeconds) {
        super(message, null, false, false);
        this.status = status;
        this.type = type;
        this.code = Objects.requireNonNull(code);
        this.param = param;
        this.retryAfterSeconds = retryAfterSeconds;
    }

    /** 400: the value of a request field is wrong. */
    public static ApiException badRequest(String param, String message) {
        return badRequest("invalid_value", param, message);
    }

    public static ApiException badRequest(String code, String param, String message) {
        return new ApiException(400, "invalid_request_error", code, param, message, 0);
    }

    /** 400: a field that is understood but not offered by this version. */
    public static ApiException unsupported(String param, String message) {
        return badRequest("unsupported_parameter", param, message);
    }

    public static ApiException notFound(String code, String param, String message) {
        return new ApiException(404, "invalid_request_error", code, param, message, 0);
    }

    public static ApiException internal(String message) {
        return new ApiException(500, "server_error", "internal_error", null, message, 0);
    }

    public static ApiException unavailable(String code, String message, int retryAfterSeconds) {
        return new ApiException(503, "server_error", code, null, message, retryAfterSeconds);
    }

    public int status() {
        return status;
    }

    public int retryAfterSeconds() {
        return retryAfterSeconds;
    }

    public String code() {
        return code;
    }

    public String param() {
        return param;
    }

    /** Writes {@code {"error":{"message","type","param","code"}}}; all four keys are always there, as the official schema requires. */
    public void writeTo(JsonBuffer json) {
        json.raw("{\"error\":{\"message\":").string(getMessage()).raw(",\"type\":").string(type)
                .raw(",\"param\":").string(param).raw(",\"code\":").string(code).raw("}}");
    }
}
