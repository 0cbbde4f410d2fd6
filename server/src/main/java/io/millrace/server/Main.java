package io.millrace.server;

import io.millrace.server.cli.MillraceCommand;
import io.millrace.server.console.Logging;

/** The program's entry. Exit codes are those of {@link io.millrace.server.cli.ExitCodes}. */
public final class Main {
    private Main() {}

    public static void main(String[] args) {
        Logging.install();
        System.exit(MillraceCommand.execute(args));
    }
}
