package io.millrace.server.cli;

/** A foreseen failure of a command: one line with its code for the user, and the exit code. */
public final class CommandFailure extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final int exitCode;

    public CommandFailure(String code, String message, int exitCode) {
        this(code, message, exitCode, null);
    }

    public CommandFailure(String code, String message, int exitCode, Throwable cause) {
        super(code + ": " + message, cause);
        this.exitCode = exitCode;
    }

    public int exitCode() {
        return exitCode;
    }
}
