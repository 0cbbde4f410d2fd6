package io.millrace.server.console;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.time.Instant;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.logging.ConsoleHandler;
import java.util.logging.Formatter;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogManager;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

/**
 * Log lines on standard error, one per event: time, level, message. Code logs through {@link System.Logger}; libraries that use SLF4J
 * or java.util.logging end up here too, from warnings upward.
 */
public final class Logging {
    private static Logger root;
    /** Held, since java.util.logging keeps loggers by weak reference and a collected one forgets its level. */
    private static Logger millrace;

    private Logging() {}

    /** Replaces whatever is configured. Call first of all in the process, before anything logs. */
    public static void install() {
        System.setProperty("java.util.logging.manager", Manager.class.getName());
        root = Logger.getLogger("");
        for (Handler handler : root.getHandlers()) {
            root.removeHandler(handler);
        }
        ConsoleHandler handler = new ConsoleHandler();
        handler.setLevel(Level.ALL);
        handler.setFormatter(new Line());
        root.addHandler(handler);
        root.setLevel(Level.WARNING);
        millrace = Logger.getLogger("io.millrace");
        millrace.setLevel(Level.INFO);
    }

    /** Debug lines of the project and notices of the libraries. */
    public static void verbose() {
        if (root != null) {
            root.setLevel(Level.INFO);
            millrace.setLevel(Level.FINE);
        }
    }

    /**
     * Leaves handlers open until the process ends. The usual manager closes them in a shutdown hook of its own, and what is logged
     * while requests drain after SIGTERM would be lost.
     */
    public static final class Manager extends LogManager {
        @Override
        public void reset() {}

        @Override
        public void readConfiguration() {}
    }

    static final class Line extends Formatter {
        private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("HH:mm:ss.SSS").withZone(ZoneId.systemDefault());

        @Override
        public String format(LogRecord entry) {
            String name = entry.getLoggerName();
            boolean ours = name != null && name.startsWith("io.millrace");
            StringBuilder line = new StringBuilder(160);
            TIME.formatTo(Instant.ofEpochMilli(entry.getMillis()), line);
            line.append(' ').append(level(entry.getLevel())).append(' ').append(formatMessage(entry));
            if (!ours && name != null && !name.isEmpty()) {
                line.append("  [").append(name.substring(name.lastIndexOf('.') + 1)).append(']');
            }
            line.append('\n');
            if (entry.getThrown() != null) {
                StringWriter trace = new StringWriter();
                entry.getThrown().printStackTrace(new PrintWriter(trace));
                line.append(trace);
            }
            return line.toString();
        }

        private static String level(Level level) {
            if (level.intValue() >= Level.SEVERE.intValue()) {
                return "ERROR";
            }
            if (level.intValue() >= Level.WARNING.intValue()) {
                return "WARN ";
            }
            return level.intValue() >= Level.INFO.intValue() ? "INFO " : "DEBUG";
        }
    }
}
