/**
 * Constraints on what a model may write, and the masks that enforce them.
 *
 * <p>Public types: {@link io.millrace.engine.grammar.ConstraintSpec}, what was asked for;
 * {@link io.millrace.engine.grammar.ConstraintCompiler}, which makes of it a {@link io.millrace.engine.grammar.Constraint} or throws
 * {@link io.millrace.engine.grammar.GrammarException}; {@link io.millrace.engine.grammar.ConstraintCursor}, one text's place in it.
 *
 * <p>Built of {@code automaton} (characters), {@code regex}, {@code json} (schemas) and {@code ebnf} (grammars) on {@code machine} (parts over bytes
 * and their stacks), seen by {@code mask} through a vocabulary.
 *
 * <p>Constraints come from clients: every size, depth and time has a bound. What is beyond is refused, or, where only the text shows it, offered less of;
 * a text that nothing is left for ends with an error.
 *
 * <p>This package must not know requests, HTTP, tensors or model families.
 */
package io.millrace.engine.grammar;
