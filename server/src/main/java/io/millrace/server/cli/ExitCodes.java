package io.millrace.server.cli;

/** What the process ends with; README and {@code --help} name them. A signal ends it with 128 + the signal's number, as usual. */
public final class ExitCodes {
    public static final int OK = 0;
    /** Something unexpected; {@code --verbose} shows the stack. */
    public static final int FAILURE = 1;
    /** Wrong flags or configuration. */
    public static final int USAGE = 2;
    /** The model could not be loaded. */
    public static final int MODEL = 3;
    /** The address is in use or cannot be bound. */
    public static final int ADDRESS = 4;

    private ExitCodes() {}
}
