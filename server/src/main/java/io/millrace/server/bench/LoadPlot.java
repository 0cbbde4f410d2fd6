package io.millrace.server.bench;

import io.millrace.scheduler.simulate.LoadSeries;
import io.millrace.scheduler.simulate.LoadSeries.Quantity;
import java.util.List;
import java.util.Locale;

/** How queue, running requests and KV cache went over time, as one SVG picture: three charts over one axis of time. */
public final class LoadPlot {
    private static final int WIDTH = 860;
    private static final int LEFT = 78;
    private static final int RIGHT = 24;
    private static final int TOP = 76;
    private static final int CHART = 108;
    private static final int GAP = 46;
    private static final int COLUMNS = WIDTH - LEFT - RIGHT;

    private record Chart(String name, Quantity quantity, double whole, String color) {}

    private LoadPlot() {}

    /**
     * @param title     first line
     * @param subtitles two more at most, smaller
     */
    public static String svg(LoadSeries load, int numBlocks, String title, List<String> subtitles) {
        List<Chart> charts = List.of(new Chart("waiting requests", Quantity.WAITING, 1, "#b4552d"),
                new Chart("running requests", Quantity.RUNNING, 1, "#2f6690"),
                new Chart("KV cache in use, %", Quantity.USED_BLOCKS, numBlocks / 100.0, "#4f772d"));
        int height = TOP + charts.size() * (CHART + GAP) + 8;
        StringBuilder svg = new StringBuilder(1 << 15);
        svg.append(format("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
                + "font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#222\">%n", WIDTH, height, WIDTH, height));
        svg.append(format("<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>%n", WIDTH, height));
        svg.append(format("<text x=\"%d\" y=\"26\" font-size=\"16\" font-weight=\"600\">%s</text>%n", LEFT, escape(title)));
        for (int i = 0; i < subtitles.size(); i++) {
            svg.append(format("<text x=\"%d\" y=\"%d\" fill=\"#666\">%s</text>%n", LEFT, 44 + 16 * i, escape(subtitles.get(i))));
        }
        for (int i = 0; i < charts.size(); i++) {
            chart(svg, charts.get(i), load, TOP + 14 + i * (CHART + GAP));
        }
        return svg.append("</svg>").append(System.lineSeparator()).toString();
    }

    private static void chart(StringBuilder svg, Chart chart, LoadSeries load, int top) {
        double[] values = load.peaks(chart.quantity, COLUMNS);
        double most = 0;
        for (int i = 0; i < values.length; i++) {
            values[i] /= chart.whole;
            most = Math.max(most, values[i]);
        }
        double step = niceStep(Math.max(most, 1), 4);
        double high = Math.max(step, Math.ceil(most / step) * step);
        int bottom = top + CHART;
        svg.append(format("<text x=\"%d\" y=\"%d\" fill=\"%s\" font-weight=\"600\">%s</text>%n", LEFT, top - 6, chart.color, chart.name));
        for (double tick = 0; tick <= high * 1.001; tick += step) {
            double y = bottom - tick / high * CHART;
            svg.append(format("<path d=\"M%d %.1fH%d\" stroke=\"#e3e3e3\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" fill=\"#666\">%s</text>%n", LEFT, y,
                    WIDTH - RIGHT, LEFT - 8, y + 4, number(tick)));
        }
        timeAxis(svg, load.seconds(), top, bottom);
        svg.append(format("<path fill=\"%s\" fill-opacity=\"0.22\" stroke=\"%s\" stroke-linejoin=\"round\" d=\"M%d %d", chart.color, chart.color, LEFT, bottom));
        double width = (double) COLUMNS / values.length;
        double lastY = bottom;
        for (int i = 0; i < values.length; i++) {
            double y = bottom - values[i] / high * CHART;
            // Steps, and only where something changes: a level stretch costs nothing in the file.
            if (Math.abs(y - lastY) >= 0.05) {
                svg.append(format("H%.1fV%.1f", LEFT + i * width, y));
                lastY = y;
            }
        }
        svg.append(format("H%dV%dz\"/>%n", WIDTH - RIGHT, bottom));
    }

    private static void timeAxis(StringBuilder svg, double seconds, int top, int bottom) {
        double step = niceStep(seconds, 8);
        for (double at = 0; at <= seconds * 1.0001; at += step) {
            double x = LEFT + at / seconds * COLUMNS;
            svg.append(format("<path d=\"M%.1f %dV%d\" stroke=\"#efefef\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" fill=\"#666\">%s s</text>%n", x, top,
                    bottom, x, bottom + 15, number(at)));
        }
    }

    /** 1, 2 or 5 times a power of ten, so that about {@code parts} of them reach {@code value}. */
    private static double niceStep(double value, int parts) {
        double raw = value / parts;
        double power = Math.pow(10, Math.floor(Math.log10(raw)));
        double leading = raw / power;
        return power * (leading <= 1 ? 1 : leading <= 2 ? 2 : leading <= 5 ? 5 : 10);
    }

    private static String number(double value) {
        return value == Math.rint(value) ? String.format(Locale.ROOT, "%,.0f", value) : String.format(Locale.ROOT, "%.3g", value);
    }

    private static String escape(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\"", "&quot;");
    }

    private static String format(String pattern, Object... values) {
        return String.format(Locale.ROOT, pattern, values);
    }
}
