/**
 * Grammars to parts of a machine. Public: {@link io.millrace.engine.grammar.ebnf.EbnfCompiler}.
 */
package io.millrace.engine.grammar.ebnf;
