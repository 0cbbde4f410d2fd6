package io.millrace.server.openai;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;

/**
 * A JSON object of a request, read field by field with its type checked: a wrong one is refused naming the field, the value and what was
 * expected. An absent field and a JSON {@code null} are the same, as in the official API.
 */
public final class Fields {
    /** Bounds what a hostile body can make of the tree: nesting, and nodes (a token id prompt has one per token). */
    private static final int MAX_DEPTH = 64;
    private static final long MAX_TOKENS = 4_000_000;
    private static final int MAX_SHOWN = 120;

    private static final ObjectMapper MAPPER = new ObjectMapper(JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(MAX_DEPTH).maxTokenCount(MAX_TOKENS)
                    .maxNumberLength(64).maxNameLength(1024).maxStringLength(Integer.MAX_VALUE).build())
            // Field names come from clients: interning them would grow a table that is never cleaned.
            .configure(JsonFactory.Feature.INTERN_FIELD_NAMES, false)
            .configure(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES, false)
            .build());

    private final ObjectNode node;
    private final String prefix;

    private Fields(ObjectNode node, String prefix) {
        this.node = node;
        this.prefix = prefix;
    }

    /** @throws ApiException 400 unless {@code body} is one JSON object in UTF-8 */
    public static Fields parse(byte[] body) {
        JsonNode tree;
        try (JsonParser parser = MAPPER.createParser(body)) {
            tree = MAPPER.readTree(parser);
            if (tree != null && parser.nextToken() != null) {
                throw ApiException.badRequest("invalid_json", null, "There is text after the JSON object of the request body.");
            }
        } catch (JsonProcessingException e) {
            String where = e.getLocation() == null ? "" : " at line " + e.getLocation().getLineNr() + ", column "
                    + e.getLocation().getColumnNr();
            throw ApiException.badRequest("invalid_json", null,
                    "The request body is not valid JSON: " + firstLine(e.getOriginalMessage()) + where + ".");
        } catch (IOException e) {
            throw ApiException.badRequest("invalid_json", null, "The request body is not valid JSON: " + firstLine(e.getMessage()) + ".");
        }
        if (!(tree instanceof ObjectNode object)) {
            throw ApiException.badRequest("invalid_json", null,
                    "The request body must be a JSON object, not " + (tree == null ? "empty" : describe(tree)) + ".");
        }
        return new Fields(object, "");
    }

    /** A request that this program wrote. */
    public static Fields of(ObjectNode node) {
        return new Fields(node, "");
    }

    /** The object itself; not to be changed. */
    public ObjectNode tree() {
        return node;
    }

    public static Fields of(JsonNode node, String path) {
        if (!(node instanceof ObjectNode object)) {
            throw typeError(path, node, "an object");
        }
        return new Fields(object, path + ".");
    }

    /** The field's full name, as error messages give it. */
    public String path(String name) {
        return prefix + name;
    }

    /** Null if absent or JSON null. */
    public JsonNode get(String name) {
        JsonNode value = node.get(name);
        return value == null || value.isNull() ? null : value;
    }

    public boolean has(String name) {
        return get(name) != null;
    }

    /** As plain maps, lists, strings, numbers and booleans, in the order of the request. */
    @SuppressWarnings("unchecked")
    Map<String, Object> plainMap() {
        return MAPPER.convertValue(node, LinkedHashMap.class);
    }

    static String toJson(Object plain) {
        return MAPPER.valueToTree(plain).toString();
    }

    /** The object that {@code text} spells, or empty if it spells none. */
    @SuppressWarnings("unchecked")
    static Optional<Map<String, Object>> parseMap(String text) {
        try {
            return MAPPER.readTree(text) instanceof ObjectNode object ? Optional.of(MAPPER.convertValue(object, LinkedHashMap.class))
                    : Optional.empty();
        } catch (JsonProcessingException e) {
            return Optional.empty();
        }
    }

    public Optional<String> string(String name) {
        JsonNode value = get(name);
        if (value == null) {
            return Optional.empty();
        }
        if (!value.isTextual()) {
            throw wrongType(name, value, "a string");
        }
        return Optional.of(value.textValue());
    }

    public boolean flag(String name, boolean otherwise) {
        JsonNode value = get(name);
        if (value == null) {
            return otherwise;
        }
        if (!value.isBoolean()) {
            throw wrongType(name, value, "true or false");
        }
        return value.booleanValue();
    }

    public OptionalInt integer(String name, int min, int max) {
        JsonNode value = get(name);
        return value == null ? OptionalInt.empty() : OptionalInt.of(intValue(path(name), value, min, max));
    }

    /** Whole numbers written as floats ({@code 16.0}) are taken, as other servers do. */
    static int intValue(String path, JsonNode value, int min, int max) {
        boolean whole = value.isIntegralNumber() || value.isDouble() && value.doubleValue() == Math.rint(value.doubleValue());
        if (!whole) {
            throw typeError(path, value, "an integer");
        }
        boolean fits = value.isIntegralNumber() ? value.canConvertToLong() : Math.abs(value.doubleValue()) < 1e15;
        if (!fits || value.longValue() < min || value.longValue() > max) {
            throw ApiException.badRequest(path, "`" + path + "` is " + value + "; it must be "
                    + (max == Integer.MAX_VALUE ? "at least " + min : "from " + min + " to " + max) + ".");
        }
        return (int) value.longValue();
    }

    OptionalLong longInteger(String name) {
        JsonNode value = get(name);
        if (value == null) {
            return OptionalLong.empty();
        }
        if (!value.isIntegralNumber()) {
            throw wrongType(name, value, "an integer");
        }
        if (!value.canConvertToLong()) {
            throw ApiException.badRequest(path(name), "`" + path(name) + "` is " + value + "; it must fit in 64 bits, signed.");
        }
        return OptionalLong.of(value.longValue());
    }

    /** A finite number from {@code min} (itself excluded if {@code aboveMin}) to {@code max}. */
    Optional<Float> number(String name, float min, boolean aboveMin, float max) {
        JsonNode value = get(name);
        return value == null ? Optional.empty() : Optional.of(floatValue(path(name), value, min, aboveMin, max));
    }

    static float floatValue(String path, JsonNode value, float min, boolean aboveMin, float max) {
        if (!value.isNumber()) {
            throw typeError(path, value, "a number");
        }
        double number = value.doubleValue();
        if (!(number >= min && number <= max) || aboveMin && number == min) {
            throw ApiException.badRequest(path, "`" + path + "` is " + clip(value.toString()) + "; it must be "
                    + (aboveMin ? "greater than " : "at least ") + plain(min) + (max == Float.MAX_VALUE ? "" : " and at most " + plain(max))
                    + ".");
        }
        return (float) number;
    }

    /** 400: the field is not there and must be. */
    public ApiException missing(String name) {
        return ApiException.badRequest("missing_parameter", path(name), "`" + path(name) + "` is missing.");
    }

    /** @throws ApiException 400 if it is absent or null */
    public JsonNode required(String name) {
        JsonNode value = get(name);
        if (value == null) {
            throw missing(name);
        }
        return value;
    }

    public ApiException wrongType(String name, JsonNode value, String expected) {
        return typeError(path(name), value, expected);
    }

    static ApiException typeError(String path, JsonNode value, String expected) {
        return ApiException.badRequest("invalid_type", path, "`" + path + "` must be " + expected + ", not " + describe(value) + ".");
    }

    /** A value and its type for an error message, cut to a readable length. */
    static String describe(JsonNode value) {
        return switch (value.getNodeType()) {
            case STRING -> "the string " + clip(value.toString());
            case NUMBER -> "the number " + clip(value.toString());
            case BOOLEAN -> value.toString();
            case NULL -> "null";
            case ARRAY -> "an array";
            case OBJECT -> "an object";
            default -> "absent";
        };
    }

    public static String clip(String text) {
        return text.length() <= MAX_SHOWN ? text : text.substring(0, MAX_SHOWN) + "...";
    }

    private static String plain(float value) {
        return value == Math.rint(value) ? Long.toString((long) value) : Float.toString(value);
    }

    private static String firstLine(String message) {
        int end = message == null ? -1 : message.indexOf('\n');
        return clip(message == null ? "unreadable" : end < 0 ? message : message.substring(0, end));
    }
}
