package io.millrace.server.console;

import java.util.ArrayList;
import java.util.List;

/** Lines of cells in columns: the first to the left, the others to the right. */
public final class Table {
    private final List<String[]> rows = new ArrayList<>();

    public Table row(String... cells) {
        rows.add(cells);
        return this;
    }

    /** A heading of its own. */
    public Table heading(String text) {
        rows.add(new String[] {text});
        return this;
    }

    @Override
    public String toString() {
        int columns = rows.stream().mapToInt(row -> row.length).max().orElse(0);
        int[] widths = new int[columns];
        for (String[] row : rows) {
            for (int i = 0; row.length > 1 && i < row.length; i++) {
                widths[i] = Math.max(widths[i], row[i].length());
            }
        }
        StringBuilder text = new StringBuilder();
        for (String[] row : rows) {
            for (int i = 0; i < row.length; i++) {
                String padding = " ".repeat(Math.max(0, widths[i] - row[i].length()));
                text.append(i == 0 ? row[i] + (row.length > 1 ? padding : "") : "  " + padding + row[i]);
            }
            text.append(System.lineSeparator());
        }
        return text.toString();
    }
}
