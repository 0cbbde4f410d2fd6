package io.millrace.engine.grammar.json;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.BooleanNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.millrace.engine.grammar.GrammarException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Turns schemas into {@link Shapes}: the schema's own keywords and what it refers to, alternatives multiplied out. One thread. */
final class SchemaReader {
    /** Keywords that would restrict values and are not implemented. */
    private static final Set<String> UNSUPPORTED = Set.of("if", "then", "else", "contains", "minContains", "maxContains", "unevaluatedItems",
            "unevaluatedProperties", "dependentSchemas", "$dynamicRef", "$recursiveRef", "contentSchema", "extends", "disallow", "divisibleBy");
    private static final int MAX_DEPTH = 200;
    private static final int MAX_ALTERNATIVES = 500;

    /** {@code oneOf}: no value may be in both. */
    record Overlap(List<SchemaNode> both, String pointer) {}

    private final SchemaDocument document;
    private final SchemaOptions options;
    private final KeywordReader keywords;
    private final Map<SchemaNode, Shapes> known = new HashMap<>();
    private final Set<SchemaNode> open = new LinkedHashSet<>();
    private final List<Overlap> overlaps = new ArrayList<>();
    private final boolean draft7;
    private int depth;

    SchemaReader(SchemaDocument document, JsonNode root, SchemaOptions options) {
        this.document = document;
        this.options = options;
        this.draft7 = dialect(root, options.draft7());
        this.keywords = new KeywordReader(options);
    }

    private static boolean dialect(JsonNode root, boolean otherwise) {
        String named = root.path("$schema").asText("");
        if (named.isEmpty()) {
            return otherwise;
        }
        if (!named.matches("https?://json-schema\\.org/((draft-0[3-7]|draft/20(19-09|20-12))/)?schema#?")) {
            throw new GrammarException("#/$schema", "is none of JSON Schema's own dialects; draft 7 and 2020-12 are supported");
        }
        return named.contains("draft-0");
    }

    /** Pairs of schemas found so far that must have nothing in common. */
    List<Overlap> overlaps() {
        return overlaps;
    }

    Shapes read(SchemaNode node) {
        Shapes shapes = known.get(node);
        if (shapes != null) {
            return shapes;
        }
        if (!open.add(node)) {
            throw new GrammarException(node.pointer(), "refers to itself without a value in between");
        }
        if (++depth > MAX_DEPTH) {
            throw new GrammarException(node.pointer(), "is combined of more than " + MAX_DEPTH + " levels of schemas");
        }
        try {
            shapes = readNew(node);
        } catch (GrammarException e) {
            throw e.where().startsWith("#") ? e : e.at(node.pointer());
        }
        depth--;
        open.remove(node);
        known.put(node, shapes);
        return shapes;
    }

    private Shapes readNew(SchemaNode node) {
        Shapes any = Shapes.any(options.spelling());
        if (node.json().isBoolean()) {
            return node.json().booleanValue() ? any : Shapes.NONE;
        }
        if (!node.json().isObject()) {
            throw new GrammarException(node.pointer(), "is no schema: neither an object nor a boolean");
        }
        ObjectNode json = (ObjectNode) node.json();
        if (draft7 && json.has("$ref")) {
            return refer(node, json.get("$ref"));
        }
        refuseUnsupported(node, json);
        Shapes shapes = keywords.read(node);
        if (json.has("$ref")) {
            shapes = shapes.and(refer(node, json.get("$ref")));
        }
        if (json.has("not")) {
            shapes = shapes.and(keywords.complement(node.child(json.get("not"), "not")));
        }
        for (SchemaNode part : list(node, "allOf")) {
            shapes = shapes.and(read(part));
        }
        if (json.has("anyOf")) {
            shapes = shapes.and(union(list(node, "anyOf")));
        }
        if (json.has("oneOf") && !node.partial()) {
            List<SchemaNode> branches = list(node, "oneOf");
            shapes = shapes.and(union(branches));
            noteOverlaps(node, branches);
        }
        return shapes;
    }

    private void refuseUnsupported(SchemaNode node, ObjectNode json) {
        for (Map.Entry<String, JsonNode> field : json.properties()) {
            if (UNSUPPORTED.contains(field.getKey()) || draft7 && field.getKey().matches("content(MediaType|Encoding)")) {
                boolean inert = field.getKey().equals("then") || field.getKey().equals("else") ? !json.has("if")
                        : (field.getKey().equals("minContains") || field.getKey().equals("maxContains")) && !json.has("contains")
                        || field.getKey().equals("if") && !json.has("then") && !json.has("else");
                boolean empty = field.getKey().startsWith("unevaluated") && isTrue(field.getValue());
                if (!inert && !empty) {
                    throw new GrammarException(node.pointer() + "/" + field.getKey(), "the keyword `" + field.getKey() + "` is not supported");
                }
            }
        }
    }

    private static boolean isTrue(JsonNode schema) {
        return schema.isBoolean() && schema.booleanValue() || schema.isObject() && schema.isEmpty();
    }

    private Shapes refer(SchemaNode node, JsonNode reference) {
        if (!reference.isTextual()) {
            throw new GrammarException(node.pointer() + "/$ref", "is no text");
        }
        return read(document.resolve(node, reference.textValue()));
    }

    private Shapes union(List<SchemaNode> branches) {
        Shapes all = Shapes.NONE;
        for (SchemaNode branch : branches) {
            all = all.or(read(branch));
        }
        return all;
    }

    private static List<SchemaNode> list(SchemaNode node, String keyword) {
        JsonNode json = node.json().get(keyword);
        List<SchemaNode> all = new ArrayList<>();
        if (json == null) {
            return all;
        }
        if (!json.isArray() || json.isEmpty()) {
            throw new GrammarException(node.pointer() + "/" + keyword, "is no array of schemas");
        }
        if (json.size() > MAX_ALTERNATIVES) {
            throw new GrammarException(node.pointer() + "/" + keyword, "has " + json.size() + " schemas; at most " + MAX_ALTERNATIVES + " are supported");
        }
        for (int i = 0; i < json.size(); i++) {
            all.add(node.child(json, keyword).child(json.get(i), Integer.toString(i)));
        }
        return all;
    }

    /** Where types are inferred, what is offered of one branch is held against all that the other could mean. */
    private void noteOverlaps(SchemaNode node, List<SchemaNode> branches) {
        String pointer = node.pointer() + "/oneOf";
        if (branches.size() > 64) {
            throw new GrammarException(pointer, "has " + branches.size() + " schemas; at most 64 are supported");
        }
        for (int i = 0; i < branches.size(); i++) {
            for (int j = 0; j < branches.size(); j++) {
                if (i != j && (i < j || options.inference() != SchemaOptions.Inference.NONE && !node.exact())) {
                    overlaps.add(new Overlap(List.of(node.withoutOneOf(), branches.get(i), branches.get(j).asExact()), pointer));
                }
            }
        }
    }

    static SchemaNode constant(JsonNode value, String pointer) {
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        json.set("const", value);
        return new SchemaNode(json, pointer, true, false);
    }

    static SchemaNode nothing(String pointer) {
        return new SchemaNode(BooleanNode.FALSE, pointer, true, false);
    }

    /** An object with the fields of {@code value} and no others, in this order. */
    static ObjectRule objectOf(JsonNode value, String pointer) {
        Map<String, SchemaNode> named = new LinkedHashMap<>();
        value.properties().forEach(field -> named.put(field.getKey(), constant(field.getValue(), pointer)));
        return new ObjectRule(0, Integer.MAX_VALUE, named.keySet(), Map.of(),
                List.of(new ObjectRule.Keys(named, List.of(), nothing(pointer))), List.of(), pointer);
    }

    static ArrayRule arrayOf(JsonNode value, String pointer) {
        List<SchemaNode> items = new ArrayList<>();
        value.forEach(item -> items.add(constant(item, pointer)));
        return new ArrayRule(items.size(), items.size(), List.of(new ArrayRule.Items(items, nothing(pointer))));
    }
}
