package io.millrace.engine.text.jinja;

/** A template could not be compiled or rendered. */
public final class JinjaException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** What went wrong, in Jinja2's terms. */
    public enum Kind {
        /** The source is not a template. */
        SYNTAX,
        /** Something undefined was used in a way that needs a value. */
        UNDEFINED,
        /** The sandbox refused: an attribute that mutates or a range that is too long. */
        SECURITY,
        /** A value of the wrong type, a bad argument, a division by zero. */
        TYPE,
        /** The template itself called {@code raise_exception}; the message is its text. */
        RAISED,
        /** A bound of {@link Budget} was exceeded. */
        LIMIT
    }

    private final Kind kind;

    JinjaException(Kind kind, String message) {
        // No stack trace: templates are data, and a client can make them fail at will.
        super(message, null, false, false);
        this.kind = kind;
    }

    public Kind kind() {
        return kind;
    }

    static JinjaException type(String message) {
        return new JinjaException(Kind.TYPE, message);
    }

    static JinjaException limit(String what, long limit) {
        return new JinjaException(Kind.LIMIT, "the template exceeds the limit of " + limit + " " + what);
    }
}
