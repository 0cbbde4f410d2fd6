/**
 * Tokens that a state of a machine allows. Public: {@link io.millrace.engine.grammar.mask.ByteVocabulary} and {@link io.millrace.engine.grammar.mask.MaskCache}.
 */
package io.millrace.engine.grammar.mask;
