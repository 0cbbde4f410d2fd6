/**
 * JSON Schema to parts of a machine. Public: {@link io.millrace.engine.grammar.json.SchemaCompiler} and its {@link io.millrace.engine.grammar.json.SchemaOptions}.
 */
package io.millrace.engine.grammar.json;
