package io.millrace.engine.grammar.json;

import java.util.BitSet;

/**
 * What of an object's past decides its future.
 *
 * @param seen  named keys it has; never changed
 * @param last  where keys come in order, the number of the last one, or the number of named keys after any other; else -1
 * @param count keys so far where their number matters, else 0
 */
record StageKey(BitSet seen, int last, int count) {}
