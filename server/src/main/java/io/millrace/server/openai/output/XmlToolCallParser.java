package io.millrace.server.openai.output;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;
import java.util.Map;

/**
 * Calls as Qwen3-Coder writes them: {@code <tool_call><function=NAME><parameter=KEY>value</parameter>...</function></tool_call>}, values as
 * plain text. A value becomes the JSON that the tool's schema asks for; without one, the JSON it spells, else a string.
 */
final class XmlToolCallParser extends OutputParser {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String CALL = "<tool_call>";
    private static final String CALL_END = "</tool_call>";
    private static final String FUNCTION = "<function=";
    private static final String FUNCTION_END = "</function>";
    private static final String PARAMETER = "<parameter=";
    private static final String PARAMETER_END = "</parameter>";
    static final List<String> MARKERS = List.of(CALL, CALL_END);
    private static final List<String> BEGINS = List.of(CALL, FUNCTION);
    private static final List<String> INSIDE = List.of(CALL, CALL_END, FUNCTION);

    private enum At { CONTENT, CALLS, NAME, PARAMETERS, VALUE }

    /** By tool name, its JSON schema. */
    private final Map<String, JsonNode> schemas;
    private At at = At.CONTENT;
    private final StringBuilder unsure = new StringBuilder();
    private JsonNode properties;
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
        int length = trimmedLength(in, begin >= 0 ? begin : certain(BEGINS));
        emit(in.substring(0, length), sink);
        in.delete(0, begin >= 0 ? begin : length);
        if (begin >= 0) {
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
        if (end < 0) {
            return false;
        }
        String name = take(end).strip();
        in.deleteCharAt(0);
        JsonNode schema = schemas.get(name);
        properties = schema == null ? null : schema.path("properties");
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
        JsonNode type = properties == null ? null : properties.path(parameter).get("type");
        boolean string = type != null && (type.asText().equals("string") || type.isArray() && contains(type, "string"));
        if (!string) {
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

    private static boolean contains(JsonNode list, String word) {
        for (JsonNode item : list) {
            if (item.asText().equals(word)) {
                return true;
            }
        }
        return false;
    }

    @Override
    public void finish(OutputSink sink) {
        if (at == At.CONTENT || at == At.CALLS && !anyCall) {
            emit(unsure + take(in.length()), sink);
        }
    }

    private static void emit(String text, OutputSink sink) {
        if (!text.isEmpty()) {
            sink.content(text);
        }
    }
}
