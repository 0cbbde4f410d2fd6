package io.millrace.engine.grammar;

/**
 * A constraint that is refused: malformed, not supported, impossible to satisfy or too large. The message is meant for whoever wrote it;
 * {@link #where} says which part is meant.
 */
public final class GrammarException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** @serial the place, or an empty text */
    private final String where;

    public GrammarException(String message) {
        this("", message);
    }

    /** @param where a JSON pointer into a schema ({@code #/properties/a/not}), a position in a regular expression or grammar */
    public GrammarException(String where, String message) {
        super(message, null, false, false);
        this.where = where;
    }

    public String where() {
        return where;
    }

    /** The same refusal, with the place added unless one is known. */
    public GrammarException at(String place) {
        return where.isEmpty() ? new GrammarException(place, getMessage()) : new GrammarException(place, where + ": " + getMessage());
    }

    /** The place and the reason in one line. */
    public String describe() {
        return where.isEmpty() ? getMessage() : where + ": " + getMessage();
    }
}
