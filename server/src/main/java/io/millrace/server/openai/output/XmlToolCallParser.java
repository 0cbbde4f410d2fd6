package io.millrace.server.openai.output;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * Calls as Qwen3-Coder writes them: {@code <tool_call><function=NAME><parameter=KEY>value</parameter>...</function></tool_call>}, values as
 * plain text. A value becomes the JSON that the tool's schema asks for; without one, the JSON it spells, else a string.
 */
final class XmlToolCallParser extends OutputParser {
    private static final ObjectMapper JSON = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    private static final String CALL = "<tool_call>";
    private static final String CALL_END = "</tool_call>";
    private static final String FUNCTION = "<function=";
    private static final String FUNCTION_END = "</function>";
    private static final String PARAMETER = "<parameter=";
    private static final String PARAMETER_END = "</parameter>";
    static final List<String> MARKERS = List.of(CALL, CALL_END);
    private static final List<String> BEGINS = List.of(CALL, FUNCTION);
    private static final Pattern NAME = Pattern.compile("[a-zA-Z0-9_.-]{1,128}");
    private static final int MAX_NAME = 128;
    private static final int MAX_SCHEMA_DEPTH = 16;
    private static final List<String> INSIDE = List.of(CALL, CALL_END, FUNCTION);

    private enum At { CONTENT, CALLS, NAME, PARAMETERS, VALUE }

    /** By tool name, its JSON schema. */
    private final Map<String, JsonNode> schemas;
    private At at = At.CONTENT;
    private final StringBuilder unsure = new StringBuilder();
    /** What was taken for the call that is being read. */
    private final StringBuilder written = new StringBuilder();
    private JsonNode schema;
    private String parameter;
    private boolean anyParameter;
    private boolean anyCall;

    XmlToolCallParser(Map<String, JsonNode> schemas) {
        this.schemas = schemas;
    }

    @Override
    boolean step(OutputSink sink) {
        return switch (at) {
            case CONTENT -> content(sink);
            case CALLS -> calls(sink);
            case NAME -> name(sink);
            case PARAMETERS -> parameters(sink);
            case VALUE -> value(sink);
        };
    }

    private boolean content(OutputSink sink) {
        int begin = indexOf(BEGINS);
        emit(takeTrimmed(begin >= 0 ? begin : certain(BEGINS)), sink);
        if (begin >= 0) {
            unsure.setLength(0);
            unsure.append(takeSpace());
            at = At.CALLS;
            anyCall = false;
        }
        return begin >= 0;
    }

    private boolean calls(OutputSink sink) {
        if (Character.isWhitespace(in.charAt(0))) {
            unsure.append(take(1));
            return true;
        }
        if (skip(FUNCTION)) {
            at = At.NAME;
            return true;
        }
        if (skip(CALL)) {
            unsure.append(CALL);
            return true;
        }
        if (skip(CALL_END)) {
            unsure.setLength(0);
            return true;
        }
        if (mayBecome(INSIDE)) {
            return false;
        }
        emit(anyCall ? "" : unsure.toString(), sink);
        unsure.setLength(0);
        at = At.CONTENT;
        return true;
    }

    private boolean name(OutputSink sink) {
        int end = in.indexOf(">");
        if (end < 0 && in.length() <= MAX_NAME && (in.isEmpty() || NAME.matcher(in).matches())) {
            return false;
        }
        if (end < 0 || !NAME.matcher(in.substring(0, end)).matches()) {
            emit((anyCall ? "" : unsure.toString()) + FUNCTION, sink);
            unsure.setLength(0);
            at = At.CONTENT;
            return true;
        }
        String name = take(end);
        in.deleteCharAt(0);
        written.setLength(0);
        written.append(FUNCTION).append(name).append('>');
        schema = schemas.get(name);
        anyParameter = false;
        anyCall = true;
        unsure.setLength(0);
        sink.call(null, name);
        at = At.PARAMETERS;
        return true;
    }

    private boolean parameters(OutputSink sink) {
        int parameterAt = in.indexOf(PARAMETER);
        int functionEnd = in.indexOf(FUNCTION_END);
        if (functionEnd >= 0 && (parameterAt < 0 || functionEnd < parameterAt)) {
            in.delete(0, functionEnd + FUNCTION_END.length());
            sink.arguments(anyParameter ? "}" : "{}");
            sink.callEnds();
            at = At.CALLS;
            return true;
        }
        int end = parameterAt < 0 ? -1 : in.indexOf(">", parameterAt);
        if (end < 0) {
            return false;
        }
        parameter = in.substring(parameterAt + PARAMETER.length(), end).strip();
        written.append(in, 0, end + 1);
        in.delete(0, end + 1);
        at = At.VALUE;
        return true;
    }

    private boolean value(OutputSink sink) {
        int end = in.indexOf(PARAMETER_END);
        if (end < 0) {
            return false;
        }
        String text = take(end);
        written.append(text).append(PARAMETER_END);
        in.delete(0, PARAMETER_END.length());
        // One line break after the opening and one before the closing belong to the notation.
        text = text.startsWith("\n") ? text.substring(1) : text;
        text = text.endsWith("\n") ? text.substring(0, text.length() - 1) : text;
        sink.arguments((anyParameter ? ", " : "{") + JSON.valueToTree(parameter) + ": " + json(text));
        anyParameter = true;
        at = At.PARAMETERS;
        return true;
    }

    private String json(String text) {
        JsonNode property = schema == null ? null : schema.path("properties").get(parameter);
        boolean string = property != null && allows("string", property, 0);
        if (!string || text.equals("null") && allows("null", property, 0)) {
            try {
                JsonNode parsed = JSON.readTree(text);
                if (parsed != null && !parsed.isMissingNode()) {
                    return parsed.toString();
                }
            } catch (JsonProcessingException e) {
                // A word that is no JSON is a string.
            }
            if (text.equals("True") || text.equals("False")) {
                return text.toLowerCase(java.util.Locale.ROOT);
            }
        }
        return JSON.valueToTree(text).toString();
    }

    /** Whether a value of {@code type} may meet {@code part}, as far as types, alternatives and references within the schema say. */
    private boolean allows(String type, JsonNode part, int depth) {
        if (depth > MAX_SCHEMA_DEPTH) {
            return false;
        }
        JsonNode types = part.path("type");
        if (types.isTextual() && types.asText().equals(type)) {
            return true;
        }
        for (JsonNode item : types) {
            if (item.asText().equals(type)) {
                return true;
            }
        }
        for (JsonNode value : part.path("enum")) {
            if (type.equals("string") ? value.isTextual() : value.isNull()) {
                return true;
            }
        }
        for (String keyword : new String[] {"anyOf", "oneOf", "allOf"}) {
            for (JsonNode branch : part.path(keyword)) {
                if (allows(type, branch, depth + 1)) {
                    return true;
                }
            }
        }
        String reference = part.path("$ref").asText("");
        return reference.startsWith("#/") && allows(type, schema.at(reference.substring(1)), depth + 1);
    }

    @Override
    public void finish(OutputSink sink) {
        switch (at) {
            case CONTENT -> emit(takeSpace() + take(in.length()), sink);
            case CALLS -> emit(anyCall ? "" : unsure + take(in.length()), sink);
            case NAME -> emit((anyCall ? "" : unsure.toString()) + FUNCTION + take(in.length()), sink);
            default -> sink.callBreaks(written + take(in.length()));
        }
    }
}
