package io.millrace.server.responses;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.server.openai.Fields;
import io.millrace.server.openai.JsonBuffer;
import java.nio.charset.StandardCharsets;

/** What a response object repeats of its request, encoded once. */
public final class ResponseHead {
    private final byte[] settings;

    private ResponseHead(byte[] settings) {
        this.settings = settings;
    }

    public static ResponseHead of(Fields request) {
        JsonBuffer json = new JsonBuffer(512);
        echo(json, request, "instructions", "null");
        echo(json, request, "max_output_tokens", "null");
        echo(json, request, "metadata", "{}");
        echo(json, request, "parallel_tool_calls", "true");
        echo(json, request, "reasoning", "{\"effort\":null,\"summary\":null}");
        echo(json, request, "temperature", "null");
        echo(json, request, "text", "{\"format\":{\"type\":\"text\"}}");
        echo(json, request, "tool_choice", "\"auto\"");
        echo(json, request, "tools", "[]");
        echo(json, request, "top_p", "null");
        echo(json, request, "user", "null");
        json.raw(",\"previous_response_id\":null,\"store\":false,\"truncation\":\"disabled\"");
        return new ResponseHead(json.toByteArray());
    }

    private static void echo(JsonBuffer json, Fields request, String name, String otherwise) {
        JsonNode value = request.get(name);
        json.raw(",\"").raw(name).raw("\":").raw((value == null ? otherwise : value.toString()).getBytes(StandardCharsets.UTF_8));
    }

    void writeTo(JsonBuffer json) {
        json.raw(settings);
    }
}
