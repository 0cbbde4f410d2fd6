package io.millrace.server;

import io.millrace.server.cli.MillraceCommand;
import io.millrace.server.cli.PlainServe;
import io.millrace.server.console.Logging;
import java.util.OptionalInt;

/** The program's entry. Exit codes are those of {@link io.millrace.server.cli.ExitCodes}. */
public final class Main {
    private Main() {}

    public static void main(String[] args) {
        Logging.install();
        OptionalInt plain = PlainServe.execute(args);
        System.exit(plain.isPresent() ? plain.getAsInt() : MillraceCommand.execute(args));
    }
}
