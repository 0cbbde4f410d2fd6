/**
 * Deterministic automata over characters: sets of characters, tables, products. Immutable once built; every state of one reaches an accepting one.
 */
package io.millrace.engine.grammar.automaton;
