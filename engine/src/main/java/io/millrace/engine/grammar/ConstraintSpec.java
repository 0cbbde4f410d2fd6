package io.millrace.engine.grammar;

import io.millrace.engine.grammar.json.SchemaOptions;
import java.util.List;

/** A constraint as it was asked for. Equal by content, so compiled ones can be found again. */
public sealed interface ConstraintSpec {
    /** An instance of a JSON Schema, given as JSON text. */
    record JsonSchema(String schema, SchemaOptions options) implements ConstraintSpec {}

    /** Any JSON object. */
    record JsonObject(SchemaOptions options) implements ConstraintSpec {}

    /** A text that matches as a whole. */
    record Regex(String pattern) implements ConstraintSpec {}

    /** One of the texts. */
    record Choice(List<String> texts) implements ConstraintSpec {}

    /** A text that the grammar's rule {@code root} derives: GBNF or xgrammar's EBNF. */
    record Grammar(String source) implements ConstraintSpec {}
}
