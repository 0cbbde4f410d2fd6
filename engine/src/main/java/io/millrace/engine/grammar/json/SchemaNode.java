package io.millrace.engine.grammar.json;

import com.fasterxml.jackson.databind.JsonNode;

/**
 * A schema at its place. Equal by identity of the JSON and by the ways to read it.
 *
 * @param exact   types are not inferred
 * @param partial without {@code oneOf}
 */
record SchemaNode(JsonNode json, String pointer, boolean exact, boolean partial) {
    SchemaNode child(JsonNode node, String path) {
        return new SchemaNode(node, pointer + "/" + path.replace("~", "~0").replace("/", "~1"), exact, false);
    }

    SchemaNode withoutOneOf() {
        return new SchemaNode(json, pointer, exact, true);
    }

    SchemaNode asExact() {
        return new SchemaNode(json, pointer, true, partial);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof SchemaNode node && json == node.json && exact == node.exact && partial == node.partial;
    }

    @Override
    public int hashCode() {
        return 4 * System.identityHashCode(json) + (exact ? 2 : 0) + (partial ? 1 : 0);
    }
}
