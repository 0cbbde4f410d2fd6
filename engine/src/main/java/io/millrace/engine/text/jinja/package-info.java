/**
 * An interpreter of the Jinja2 templates that models carry, written for this project since no Java engine renders what people use.
 *
 * <p>Public types: {@link io.millrace.engine.text.jinja.JinjaTemplate}, {@link io.millrace.engine.text.jinja.JinjaException}. Source to
 * {@code Lexer}, tokens to {@code Parser} and {@code ExpressionParser}, trees of {@code Node} and {@code Expr} to {@code Interpreter} and
 * {@code Evaluator}; {@code Values}, {@code Numbers}, {@code Printer} hold Python's rules.
 *
 * <p>Threading: a template is immutable; each rendering has its own interpreter.
 *
 * <p>Bounds ({@code Budget}): templates and what they render are untrusted. A rendering may take five million steps (strings are charged by
 * length), nest 400 evaluations deep and make no value over 16 Mi characters; a source may have 1 Mi characters and nest 100 levels.
 *
 * <p>This package must not know models, tokenizers or requests.
 */
package io.millrace.engine.text.jinja;
