package io.millrace.engine.grammar.json;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.engine.grammar.GrammarException;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** The keywords of one schema that speak of values directly, as {@link Shapes}. Stateless but for its options. */
final class KeywordReader {
    private static final Set<String> TYPES = Set.of("null", "boolean", "object", "array", "number", "string", "integer");
    private static final Set<String> OBJECT_KEYWORDS = Set.of("properties", "patternProperties", "additionalProperties", "required",
            "propertyNames", "minProperties", "maxProperties", "dependentRequired", "dependencies");
    private static final Set<String> ARRAY_KEYWORDS = Set.of("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems");
    private static final Set<String> STRING_KEYWORDS = Set.of("pattern", "minLength", "maxLength", "format");
    private static final Set<String> NUMBER_KEYWORDS = Set.of("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf");
    private static final int MAX_EXPONENT = 400;

    private final SchemaOptions options;
    private final NumberRange.Spelling spelling;

    KeywordReader(SchemaOptions options) {
        this.options = options;
        this.spelling = options.spelling();
    }

    Shapes read(SchemaNode node) {
        JsonNode json = node.json();
        Set<String> types = types(node);
        Shapes any = Shapes.any(spelling);
        Shapes shapes = new Shapes(types.contains("null"), types.contains("boolean"), types.contains("boolean"),
                types.contains("number") ? List.of(numbers(node, false)) : types.contains("integer") ? List.of(numbers(node, true)) : List.of(),
                types.contains("string") ? List.of(strings(node)) : List.of(), types.contains("array") ? List.of(arrays(node)) : List.of(),
                types.contains("object") ? List.of(objects(node)) : List.of());
        if (json.has("enum")) {
            JsonNode values = json.get("enum");
            if (!values.isArray()) {
                throw new GrammarException(node.pointer() + "/enum", "is no array");
            }
            shapes = shapes.and(values(values, node.pointer() + "/enum"));
        }
        if (json.has("const")) {
            shapes = shapes.and(values(List.of(json.get("const")), node.pointer() + "/const"));
        }
        return types.size() == TYPES.size() && shapes.equals(any) ? any : shapes;
    }

    /** Types by {@code type}, or by inference. */
    private Set<String> types(SchemaNode node) {
        JsonNode json = node.json();
        Set<String> types = new LinkedHashSet<>();
        JsonNode type = json.get("type");
        if (type != null) {
            if (!type.isTextual() && (!type.isArray() || type.isEmpty())) {
                throw new GrammarException(node.pointer() + "/type", "is neither the name of a type nor an array of such names");
            }
            for (JsonNode name : type.isTextual() ? List.of(type) : type) {
                if (!TYPES.contains(name.asText()) || !name.isTextual()) {
                    throw new GrammarException(node.pointer() + "/type", "unknown type " + clip(name.toString()));
                }
                types.add(name.textValue());
            }
            return types;
        }
        if (node.exact() || options.inference() == SchemaOptions.Inference.NONE || json.has("enum") || json.has("const")) {
            return TYPES;
        }
        if (json.isEmpty() && options.inference() == SchemaOptions.Inference.KEYWORDS_OR_OBJECT) {
            return Set.of("object");
        }
        for (Map.Entry<String, JsonNode> field : json.properties()) {
            if (OBJECT_KEYWORDS.contains(field.getKey())) {
                types.add("object");
            } else if (ARRAY_KEYWORDS.contains(field.getKey())) {
                types.add("array");
            } else if (STRING_KEYWORDS.contains(field.getKey())) {
                types.add("string");
            } else if (NUMBER_KEYWORDS.contains(field.getKey())) {
                types.add("number");
            }
        }
        return types.isEmpty() ? TYPES : types;
    }

    private static String clip(String text) {
        return text.length() > 60 ? text.substring(0, 60) + "..." : text;
    }

    /** Nothing but the given values. */
    private Shapes values(Iterable<JsonNode> values, String pointer) {
        boolean nothing = false;
        boolean yes = false;
        boolean no = false;
        Set<BigDecimal> numbers = new TreeSet<>();
        Set<String> texts = new TreeSet<>();
        List<ArrayRule> arrays = new ArrayList<>();
        List<ObjectRule> objects = new ArrayList<>();
        for (JsonNode value : values) {
            switch (value.getNodeType()) {
                case NULL -> nothing = true;
                case BOOLEAN -> {
                    yes |= value.booleanValue();
                    no |= !value.booleanValue();
                }
                case NUMBER -> numbers.add(decimal(value, pointer));
                case STRING -> texts.add(value.textValue());
                case ARRAY -> arrays.add(SchemaReader.arrayOf(value, pointer));
                default -> objects.add(SchemaReader.objectOf(value, pointer));
            }
        }
        return new Shapes(nothing, yes, no, numbers.stream().map(number -> NumberRange.exactly(number, spelling)).toList(),
                texts.isEmpty() ? List.of() : List.of(new StringRule(0, Integer.MAX_VALUE, List.of(), texts)), arrays, objects);
    }

    private NumberRange numbers(SchemaNode node, boolean integer) {
        NumberRange range = NumberRange.any(integer, spelling);
        boolean draft4Low = node.json().path("exclusiveMinimum").isBoolean();
        boolean draft4High = node.json().path("exclusiveMaximum").isBoolean();
        if (node.json().has("minimum")) {
            range = range.atLeast(number(node, "minimum"), draft4Low && node.json().get("exclusiveMinimum").booleanValue());
        }
        if (node.json().has("maximum")) {
            range = range.atMost(number(node, "maximum"), draft4High && node.json().get("exclusiveMaximum").booleanValue());
        }
        if (node.json().has("exclusiveMinimum") && !draft4Low) {
            range = range.atLeast(number(node, "exclusiveMinimum"), true);
        }
        if (node.json().has("exclusiveMaximum") && !draft4High) {
            range = range.atMost(number(node, "exclusiveMaximum"), true);
        }
        if (node.json().has("multipleOf")) {
            BigDecimal factor = number(node, "multipleOf");
            if (factor.signum() <= 0) {
                throw new GrammarException(node.pointer() + "/multipleOf", "is not greater than 0");
            }
            range = range.multipleOf(factor);
        }
        return range;
    }

    private static BigDecimal number(SchemaNode node, String keyword) {
        JsonNode value = node.json().get(keyword);
        if (!value.isNumber()) {
            throw new GrammarException(node.pointer() + "/" + keyword, "is no number");
        }
        return decimal(value, node.pointer() + "/" + keyword);
    }

    private static BigDecimal decimal(JsonNode value, String pointer) {
        BigDecimal decimal = value.decimalValue();
        if (Math.abs((long) decimal.precision() - decimal.scale()) > MAX_EXPONENT || Math.abs((long) decimal.scale()) > MAX_EXPONENT) {
            throw new GrammarException(pointer, "a number of more than " + MAX_EXPONENT + " digits");
        }
        return decimal;
    }

    /** A limit of lengths: not negative; {@code otherwise} if absent. */
    private static int count(SchemaNode node, String keyword, int otherwise) {
        JsonNode value = node.json().get(keyword);
        if (value == null) {
            return otherwise;
        }
        if (!value.isNumber() || value.decimalValue().signum() < 0 || value.decimalValue().stripTrailingZeros().scale() > 0) {
            throw new GrammarException(node.pointer() + "/" + keyword, "is no whole number of at least 0");
        }
        if (value.decimalValue().compareTo(BigDecimal.valueOf(1_000_000_000)) > 0) {
            if (keyword.startsWith("max")) {
                return Integer.MAX_VALUE;
            }
            throw new GrammarException(node.pointer() + "/" + keyword, "is more than 1000000000");
        }
        return value.decimalValue().intValue();
    }

    private StringRule strings(SchemaNode node) {
        List<StringRule.Pattern> patterns = new ArrayList<>();
        JsonNode pattern = node.json().get("pattern");
        if (pattern != null) {
            patterns.add(pattern(pattern, node.pointer() + "/pattern"));
        }
        JsonNode format = node.json().get("format");
        if (format != null && options.formats() && format.isTextual() && Formats.regex(format.textValue()) != null) {
            patterns.add(new StringRule.Pattern(Formats.regex(format.textValue()), true, node.pointer() + "/format"));
        }
        return new StringRule(count(node, "minLength", 0), count(node, "maxLength", Integer.MAX_VALUE), patterns, null);
    }

    private static StringRule.Pattern pattern(JsonNode pattern, String pointer) {
        if (!pattern.isTextual()) {
            throw new GrammarException(pointer, "is no text");
        }
        return new StringRule.Pattern(pattern.textValue(), false, pointer);
    }

    private ArrayRule arrays(SchemaNode node) {
        JsonNode json = node.json();
        int min = count(node, "minItems", 0);
        int max = count(node, "maxItems", Integer.MAX_VALUE);
        if (options.unique() && json.path("uniqueItems").asBoolean() && max > 1) {
            throw new GrammarException(node.pointer() + "/uniqueItems", "the keyword `uniqueItems` is not supported for arrays of more than one item");
        }
        String tuple = json.path("items").isArray() ? "items" : "prefixItems";
        String others = tuple.equals("items") ? "additionalItems" : "items";
        List<SchemaNode> prefix = new ArrayList<>();
        JsonNode first = json.path(tuple);
        if (json.has(tuple)) {
            if (first.isArray()) {
                for (int i = 0; i < first.size(); i++) {
                    prefix.add(node.child(first, tuple).child(first.get(i), Integer.toString(i)));
                }
            } else if (options.inference() != SchemaOptions.Inference.KEYWORDS_OR_OBJECT) {
                throw new GrammarException(node.pointer() + "/" + tuple, "is no array of schemas");
            }
        }
        SchemaNode rest = json.has(others) ? node.child(json.get(others), others) : null;
        return prefix.isEmpty() && rest == null ? new ArrayRule(min, max, List.of())
                : new ArrayRule(min, max, List.of(new ArrayRule.Items(prefix, rest)));
    }

    private ObjectRule objects(SchemaNode node) {
        JsonNode json = node.json();
        Map<String, SchemaNode> named = new LinkedHashMap<>();
        map(node, "properties").properties().forEach(field ->
                named.put(field.getKey(), node.child(json, "properties").child(field.getValue(), field.getKey())));
        List<ObjectRule.Pattern> patterns = new ArrayList<>();
        map(node, "patternProperties").properties().forEach(field -> {
            SchemaNode schema = node.child(json, "patternProperties").child(field.getValue(), field.getKey());
            patterns.add(new ObjectRule.Pattern(new StringRule.Pattern(field.getKey(), false, schema.pointer()), schema));
        });
        SchemaNode additional = json.has("additionalProperties") ? node.child(json.get("additionalProperties"), "additionalProperties") : null;
        Map<String, Set<String>> dependents = new LinkedHashMap<>();
        for (String keyword : new String[] {"dependentRequired", "dependencies"}) {
            map(node, keyword).properties().forEach(field -> {
                if (!field.getValue().isArray() && !isTrue(field.getValue())) {
                    throw new GrammarException(node.pointer() + "/" + keyword, "a dependency that is a schema is not supported");
                }
                if (field.getValue().isArray()) {
                    dependents.put(field.getKey(), names(field.getValue(), node.pointer() + "/" + keyword));
                }
            });
        }
        Set<String> required = json.has("required") ? names(json.get("required"), node.pointer() + "/required") : Set.of();
        boolean plain = named.isEmpty() && patterns.isEmpty() && additional == null;
        List<SchemaNode> keyNames = json.has("propertyNames") ? List.of(node.child(json.get("propertyNames"), "propertyNames").asExact()) : List.of();
        int min = count(node, "minProperties", 0);
        int max = count(node, "maxProperties", Integer.MAX_VALUE);
        if (plain && required.isEmpty() && dependents.isEmpty() && keyNames.isEmpty() && min == 0 && max == Integer.MAX_VALUE) {
            return ObjectRule.ANY;
        }
        return new ObjectRule(min, max, required, dependents, plain ? List.of() : List.of(new ObjectRule.Keys(named, patterns, additional)),
                keyNames, node.pointer());
    }

    private static boolean isTrue(JsonNode schema) {
        return schema.isBoolean() && schema.booleanValue();
    }

    private static JsonNode map(SchemaNode node, String keyword) {
        JsonNode map = node.json().get(keyword);
        if (map != null && !map.isObject()) {
            throw new GrammarException(node.pointer() + "/" + keyword, "is no object");
        }
        return map == null ? com.fasterxml.jackson.databind.node.JsonNodeFactory.instance.objectNode() : map;
    }

    private static Set<String> names(JsonNode list, String pointer) {
        if (!list.isArray()) {
            throw new GrammarException(pointer, "is no array of names");
        }
        Set<String> names = new LinkedHashSet<>();
        for (JsonNode name : list) {
            if (!name.isTextual()) {
                throw new GrammarException(pointer, "is no array of names");
            }
            names.add(name.textValue());
        }
        return names;
    }

    /** What is not in {@code node}, where it says nothing but types. */
    Shapes complement(SchemaNode node) {
        Shapes any = Shapes.any(spelling);
        if (node.json().isBoolean()) {
            return node.json().booleanValue() ? Shapes.NONE : any;
        }
        if (!node.json().isObject() || node.json().size() > 1 || node.json().size() == 1 && !node.json().has("type")) {
            throw new GrammarException(node.pointer(), "the keyword `not` is supported for `type` alone");
        }
        if (node.json().isEmpty()) {
            return Shapes.NONE;
        }
        Set<String> types = types(node);
        if (types.contains("integer") && !types.contains("number")) {
            throw new GrammarException(node.pointer(), "the keyword `not` is not supported for integers");
        }
        return new Shapes(!types.contains("null"), !types.contains("boolean"), !types.contains("boolean"),
                types.contains("number") ? List.of() : any.numbers(), types.contains("string") ? List.of() : any.strings(),
                types.contains("array") ? List.of() : any.arrays(), types.contains("object") ? List.of() : any.objects());
    }

}
