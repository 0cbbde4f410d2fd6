package io.millrace.server;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.time.Instant;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.logging.ConsoleHandler;
import java.util.logging.Formatter;
import java.util.logging.Level;
import java.util.logging.LogManager;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

/**
 * Log lines on standard error, one per event: time, level, message. Code logs through {@link System.Logger}; libraries that use SLF4J
 * or java.util.logging end up here too, from warnings upward.
 */
public final class Logging {
    /** Held, since java.util.logging keeps loggers by weak reference and a collected one forgets its level. */
    private static final Logger ROOT = Logger.getLogger("");
    private static final Logger MILLRACE = Logger.getLogger("io.millrace");

    private Logging() {}

    /** Replaces whatever is configured. Call before any library logs. */
    public static void install() {
        // Libraries that would load a configuration of their own leave an existing one alone.
        System.setProperty("java.util.logging.config.class", Configuration.class.getName());
        LogManager.getLogManager().reset();
        ConsoleHandler handler = new ConsoleHandler();
        handler.setLevel(Level.ALL);
        handler.setFormatter(new Line());
        ROOT.addHandler(handler);
        ROOT.setLevel(Level.WARNING);
        MILLRACE.setLevel(Level.INFO);
    }

    /** Debug lines of the project and notices of the libraries. */
    public static void verbose() {
        ROOT.setLevel(Level.INFO);
        MILLRACE.setLevel(Level.FINE);
    }

    /** Named in the system property only to say that logging is configured. */
    public static final class Configuration {}

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
