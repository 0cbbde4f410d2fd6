package io.millrace.server.console;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** A curve of block characters, several lines high. */
public final class Sparkline {
    private static final char[] EIGHTHS = {' ', '\u2581', '\u2582', '\u2583', '\u2584', '\u2585', '\u2586', '\u2587', '\u2588'};

    private Sparkline() {}

    /**
     * @param values  at least 0, one column each
     * @param height  lines
     * @param seconds what the columns span
     * @return lines with the largest value at the upper left and the span below
     */
    public static List<String> lines(String label, double[] values, int height, double seconds) {
        double top = 1;
        for (double value : values) {
            top = Math.max(top, value);
        }
        String scale = Texts.count(Math.round(top));
        List<String> lines = new ArrayList<>();
        lines.add(label);
        for (int row = height - 1; row >= 0; row--) {
            StringBuilder line = new StringBuilder();
            String margin = row == height - 1 ? scale : row == 0 ? "0" : "";
            line.append(" ".repeat(scale.length() - margin.length() + 2)).append(margin).append(" \u2502");
            for (double value : values) {
                // What is there at all is seen: at least an eighth of the lowest line.
                double eighths = value / top * height * 8 - row * 8;
                line.append(EIGHTHS[value > 0 && row == 0 ? Math.clamp(Math.round(eighths), 1, 8) : Math.clamp(Math.round(eighths), 0, 8)]);
            }
            lines.add(line.toString().stripTrailing());
        }
        String end = String.format(Locale.ROOT, "%s s", Texts.rate(seconds));
        lines.add(" ".repeat(scale.length() + 3) + "\u2514" + "\u2500".repeat(values.length));
        lines.add(" ".repeat(scale.length() + 4) + "0" + " ".repeat(Math.max(1, values.length - 1 - end.length())) + end);
        return lines;
    }
}
