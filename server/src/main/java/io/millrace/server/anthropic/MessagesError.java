package io.millrace.server.anthropic;

import io.millrace.server.openai.ApiException;
import io.millrace.server.openai.JsonBuffer;

/** Refusals and failures in the protocol's form: {@code {"type": "error", "error": {"type", "message"}}}. */
public final class MessagesError {
    private MessagesError() {}

    /** With this program's own code beside what the protocol has. */
    public static void write(ApiException error, JsonBuffer json) {
        json.raw("{\"type\":\"error\",\"error\":{\"type\":\"").raw(type(error.status())).raw("\",\"message\":").string(error.getMessage())
                .raw(",\"code\":").string(error.code()).raw("}}");
    }

    private static String type(int status) {
        return switch (status) {
            case 401 -> "authentication_error";
            case 403 -> "permission_error";
            case 404 -> "not_found_error";
            case 413 -> "request_too_large";
            case 429 -> "rate_limit_error";
            case 503 -> "overloaded_error";
            case 504 -> "timeout_error";
            default -> status < 500 ? "invalid_request_error" : "api_error";
        };
    }
}
