/**
 * The pushdown machine over bytes. Public: {@link io.millrace.engine.grammar.machine.Part}, what pieces of a constraint are;
 * {@link io.millrace.engine.grammar.machine.Machine} and its {@link io.millrace.engine.grammar.machine.State}s; parts that others are built of.
 */
package io.millrace.engine.grammar.machine;
