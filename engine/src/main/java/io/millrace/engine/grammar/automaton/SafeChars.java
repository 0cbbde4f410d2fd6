package io.millrace.engine.grammar.automaton;

/**
 * Characters that mean nothing in particular inside a JSON string or for the dot of a regular expression: printable, no quote, no backslash.
 * Tokens made of them alone are most of any vocabulary and are allowed or not as a whole.
 */
public final class SafeChars {
    public static final CharSet SET = CharSet.ofRanges(0x20, 0x21, 0x23, 0x5B, 0x5D, 0x7E, 0xA0, 0x2027, 0x202A, CharSet.MAX_CHAR);

    private SafeChars() {}
}
