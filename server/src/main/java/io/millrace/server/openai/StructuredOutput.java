package io.millrace.server.openai;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.engine.EngineLimits;
import io.millrace.engine.LoadedModel;
import io.millrace.engine.grammar.Constraint;
import io.millrace.engine.grammar.ConstraintCompiler;
import io.millrace.engine.grammar.ConstraintSpec;
import io.millrace.engine.grammar.GrammarException;
import io.millrace.engine.grammar.json.SchemaOptions;
import io.millrace.engine.grammar.mask.ByteVocabulary;
import java.util.ArrayList;
import java.util.List;

/**
 * The fields of a request that say what the text must be, compiled on the request's own thread: OpenAI's {@code response_format}, vLLM's
 * {@code structured_outputs} and its older {@code guided_*}, llama.cpp's {@code grammar} and {@code json_schema}. Thread-safe.
 */
final class StructuredOutput {
    /** A constraint and the field it came from. */
    private record Wish(String field, ConstraintSpec spec) {}

    private static final List<String> OUTPUTS = List.of("json", "regex", "choice", "grammar", "json_object");

    private final ConstraintCompiler compiler;
    private final boolean canEnd;

    StructuredOutput(LoadedModel model, EngineLimits limits) {
        this.compiler = new ConstraintCompiler(() -> ByteVocabulary.of(model.tokenizer(), limits.vocabSize(), limits.eosTokenIds()));
        this.canEnd = limits.eosTokenIds().length > 0;
    }

    /**
     * The one constraint of a request, or null.
     *
     * @throws ApiException 400 if there is more than one, or if it is refused
     */
    Constraint parse(Fields fields) {
        List<Wish> wishes = new ArrayList<>();
        responseFormat(fields, wishes);
        if (fields.has("structured_outputs")) {
            Fields outputs = Fields.of(fields.get("structured_outputs"), "structured_outputs");
            if (outputs.has("structural_tag")) {
                throw ApiException.unsupported("structured_outputs.structural_tag", "`structured_outputs.structural_tag` is not supported by this version;"
                        + " a grammar says the same.");
            }
            outputs.tree().fieldNames().forEachRemaining(name -> {
                if (!OUTPUTS.contains(name) && outputs.has(name)) {
                    throw ApiException.unsupported(outputs.path(name), "`" + outputs.path(Fields.clip(name)) + "` is not supported by this version; of "
                            + String.join(", ", OUTPUTS) + " one can be given.");
                }
            });
            int before = wishes.size();
            wishes(outputs, "", wishes);
            if (wishes.size() == before) {
                throw ApiException.badRequest("structured_outputs",
                        "`structured_outputs` must have one of json, regex, choice, grammar and json_object.");
            }
        }
        wishes(fields, "guided_", wishes);
        if (fields.has("grammar") && !fields.string("grammar").orElseThrow().isEmpty()) {
            wishes.add(new Wish("grammar", new ConstraintSpec.Grammar(text(fields, "grammar"))));
        }
        if (fields.has("json_schema")) {
            wishes.add(new Wish("json_schema", schema(fields, "json_schema")));
        }
        if (wishes.isEmpty()) {
            return null;
        }
        if (wishes.size() > 1) {
            throw ApiException.badRequest(wishes.get(1).field, "`" + wishes.get(0).field + "` and `" + wishes.get(1).field
                    + "` both say what the text must be; a request may have one of them.");
        }
        return compile(wishes.getFirst().spec, wishes.getFirst().field);
    }

    /** @param field the request's field that is named if the constraint is refused */
    Constraint compile(ConstraintSpec spec, String field) {
        if (!canEnd) {
            throw ApiException.unsupported(field, "`" + field + "` is not supported with this model: it has no token that ends a text.");
        }
        try {
            return compiler.compile(spec);
        } catch (GrammarException e) {
            throw ApiException.badRequest("invalid_constraint", field, "`" + field + "` is refused" + (e.where().isEmpty() ? "" : " at " + e.where()) + ": "
                    + e.getMessage() + ".");
        }
    }

    private static void responseFormat(Fields fields, List<Wish> wishes) {
        if (!fields.has("response_format")) {
            return;
        }
        Fields format = Fields.of(fields.get("response_format"), "response_format");
        String type = format.string("type").orElseThrow(() -> ApiException.badRequest("response_format.type",
                "`response_format.type` is missing; it must be text, json_object or json_schema."));
        switch (type) {
            case "text" -> { }
            case "json_object" -> wishes.add(format.has("schema") ? new Wish("response_format.schema", schema(format, "schema"))
                    : new Wish("response_format", new ConstraintSpec.JsonObject(SchemaOptions.REQUESTS)));
            case "json_schema" -> {
                Fields named = Fields.of(format.required("json_schema"), "response_format.json_schema");
                named.required("schema");
                wishes.add(new Wish(named.path("schema"), schema(named, "schema")));
            }
            case "structural_tag" -> throw ApiException.unsupported("response_format",
                    "`response_format` of type structural_tag is not supported by this version; a grammar in `structured_outputs` says the same.");
            default -> throw ApiException.badRequest("response_format.type",
                    "`response_format.type` is \"" + Fields.clip(type) + "\"; it must be text, json_object or json_schema.");
        }
    }

    private static void wishes(Fields fields, String prefix, List<Wish> wishes) {
        String json = prefix + "json";
        if (fields.has(json)) {
            wishes.add(new Wish(fields.path(json), schema(fields, json)));
        }
        if (fields.has(prefix + "regex")) {
            wishes.add(new Wish(fields.path(prefix + "regex"), new ConstraintSpec.Regex(text(fields, prefix + "regex"))));
        }
        if (fields.has(prefix + "choice")) {
            wishes.add(new Wish(fields.path(prefix + "choice"), choice(fields, prefix + "choice")));
        }
        if (fields.has(prefix + "grammar")) {
            wishes.add(new Wish(fields.path(prefix + "grammar"), new ConstraintSpec.Grammar(text(fields, prefix + "grammar"))));
        }
        if (fields.flag(prefix + "json_object", false)) {
            wishes.add(new Wish(fields.path(prefix + "json_object"), new ConstraintSpec.JsonObject(SchemaOptions.REQUESTS)));
        }
    }

    private static String text(Fields fields, String name) {
        return fields.string(name).orElseThrow();
    }

    /** A schema as JSON, or as text that holds it, as vLLM takes both. */
    private static ConstraintSpec schema(Fields fields, String name) {
        JsonNode node = fields.get(name);
        if (!node.isObject() && !node.isBoolean() && !node.isTextual()) {
            throw fields.wrongType(name, node, "a JSON Schema: an object, or text that holds one");
        }
        return new ConstraintSpec.JsonSchema(node.isTextual() ? node.textValue() : node.toString(), SchemaOptions.REQUESTS);
    }

    private static ConstraintSpec choice(Fields fields, String name) {
        JsonNode node = fields.get(name);
        List<String> texts = new ArrayList<>();
        if (node.isArray()) {
            node.forEach(text -> texts.add(text.isTextual() ? text.textValue() : null));
        }
        if (!node.isArray() || texts.contains(null)) {
            throw ApiException.badRequest("invalid_type", fields.path(name), "`" + fields.path(name) + "` must be an array of strings, nothing else in it.");
        }
        return new ConstraintSpec.Choice(texts);
    }
}
