package io.millrace.engine;

/** A failure with a stable code ({@code MODEL-003}), the values concerned and what to do about it. */
public class EngineException extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final String code;

    public EngineException(String code, String message) {
        super(code + ": " + message);
        this.code = code;
    }

    public EngineException(String code, String message, Throwable cause) {
        super(code + ": " + message, cause);
        this.code = code;
    }

    public String code() {
        return code;
    }
}
