package io.millrace.engine.grammar.json;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.millrace.engine.grammar.GrammarException;
import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.Set;

/**
 * A schema with everything in it that can be referred to: by JSON pointer, by anchor, by {@code $id}. Nothing is ever fetched. Immutable
 * after construction.
 */
final class SchemaDocument {
    private static final int MAX_DEPTH = 200;
    private static final int MAX_NODES = 100_000;
    private static final String ROOT = "millrace:/schema";
    /** Fields whose content is no schema. */
    private static final Set<String> DATA = Set.of("enum", "const", "default", "examples", "example");

    private final JsonNode root;
    private final Map<String, ObjectNode> byUri = new HashMap<>();
    private final Map<JsonNode, String> pointers = new IdentityHashMap<>();
    private final Map<JsonNode, String> bases = new IdentityHashMap<>();
    private int numNodes;

    /** @throws GrammarException if it is too large */
    SchemaDocument(JsonNode root) {
        this.root = root;
        if (root instanceof ObjectNode object) {
            byUri.put(ROOT, object);
        }
        scan(root, "#", ROOT, 0, false);
    }

    private void scan(JsonNode node, String pointer, String outerBase, int depth, boolean named) {
        if (depth > MAX_DEPTH) {
            throw new GrammarException(pointer, "is nested more than " + MAX_DEPTH + " levels deep");
        }
        if (++numNodes > MAX_NODES) {
            throw new GrammarException("the schema has more than " + MAX_NODES + " values");
        }
        String base = outerBase;
        if (node instanceof ObjectNode object && !named) {
            base = identify(object, base);
        }
        if (node.isContainerNode()) {
            pointers.put(node, pointer);
            bases.put(node, base);
        }
        if (node.isArray()) {
            for (int i = 0; i < node.size(); i++) {
                scan(node.get(i), pointer + "/" + i, base, depth + 1, false);
            }
        } else if (node.isObject()) {
            for (Map.Entry<String, JsonNode> field : node.properties()) {
                if (named || !DATA.contains(field.getKey())) {
                    boolean map = !named && (field.getKey().equals("properties") || field.getKey().equals("patternProperties")
                            || field.getKey().equals("$defs") || field.getKey().equals("definitions"));
                    scan(field.getValue(), pointer + "/" + escape(field.getKey()), base, depth + 1, map);
                }
            }
        }
    }

    static String escape(String key) {
        return key.replace("~", "~0").replace("/", "~1");
    }

    /** Registers the schema's names. @return the base of references in it */
    private String identify(ObjectNode object, String outerBase) {
        String base = outerBase;
        JsonNode id = object.get("$id");
        if (id != null && id.isTextual() && !object.has("$ref")) {
            String text = id.textValue();
            if (text.startsWith("#")) {
                // Draft 6 and 7 name anchors so.
                byUri.putIfAbsent(base + text, object);
            } else {
                base = withoutFragment(resolve(outerBase, text));
                byUri.putIfAbsent(base, object);
            }
        }
        for (String keyword : new String[] {"$anchor", "$dynamicAnchor"}) {
            if (object.path(keyword).isTextual()) {
                byUri.putIfAbsent(base + "#" + object.get(keyword).textValue(), object);
            }
        }
        return base;
    }

    private static String withoutFragment(String uri) {
        int hash = uri.indexOf('#');
        return hash < 0 ? uri : uri.substring(0, hash);
    }

    private static String resolve(String base, String reference) {
        try {
            URI uri = URI.create(base);
            return uri.isOpaque() ? reference : uri.resolve(reference).toString();
        } catch (IllegalArgumentException e) {
            return reference;
        }
    }

    SchemaNode root(boolean exact) {
        return new SchemaNode(root, "#", exact, false);
    }

    /** @throws GrammarException if nothing in this document is meant */
    SchemaNode resolve(SchemaNode from, String reference) {
        String place = from.pointer() + "/$ref";
        String base = bases.getOrDefault(from.json(), ROOT);
        String uri = reference.isEmpty() || reference.startsWith("#") ? base + reference : resolve(base, reference);
        String resource = withoutFragment(uri);
        String fragment = uri.length() > resource.length() ? uri.substring(resource.length() + 1) : "";
        JsonNode target = byUri.get(resource);
        if (target == null && resource.equals(ROOT)) {
            target = root;
        }
        if (target == null) {
            throw new GrammarException(place, "refers to " + clip(reference) + ", which is not in the schema; nothing is fetched from elsewhere");
        }
        if (!fragment.isEmpty() && !fragment.startsWith("/")) {
            target = byUri.get(uri);
        } else if (!fragment.isEmpty()) {
            target = target.at(com.fasterxml.jackson.core.JsonPointer.compile(decode(fragment, place)));
        }
        if (target == null || target.isMissingNode()) {
            throw new GrammarException(place, "refers to " + clip(reference) + ", which is not in the schema");
        }
        return new SchemaNode(target, pointers.getOrDefault(target, place), from.exact(), false);
    }

    private static String decode(String fragment, String place) {
        try {
            return URLDecoder.decode(fragment.replace("+", "%2B"), StandardCharsets.UTF_8);
        } catch (IllegalArgumentException e) {
            throw new GrammarException(place, "is a malformed reference");
        }
    }

    private static String clip(String text) {
        return text.length() > 100 ? text.substring(0, 100) + "..." : text;
    }
}
