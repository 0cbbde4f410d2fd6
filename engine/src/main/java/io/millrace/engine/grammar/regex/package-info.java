/**
 * Regular expressions to automata. Public: {@link io.millrace.engine.grammar.regex.Regexes}.
 */
package io.millrace.engine.grammar.regex;
