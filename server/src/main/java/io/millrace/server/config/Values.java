package io.millrace.server.config;

import java.util.List;
import java.util.Locale;
import java.util.OptionalLong;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Readers of setting values. Each throws IllegalArgumentException saying what would be right. */
final class Values {
    private static final Pattern AMOUNT = Pattern.compile("(\\d+(?:\\.\\d+)?)\\s*([a-zA-Z]*)");

    private Values() {}

    static <T> Setting.Parser<T> one(Function<String, T> read) {
        return texts -> {
            if (texts.size() != 1) {
                throw new IllegalArgumentException("give exactly one value");
            }
            return read.apply(texts.getFirst());
        };
    }

    static Setting.Parser<String> text() {
        return one(Function.identity());
    }

    static Setting.Parser<Boolean> bool() {
        return one(text -> switch (text.toLowerCase(Locale.ROOT)) {
            case "true", "1", "yes", "on" -> true;
            case "false", "0", "no", "off" -> false;
            default -> throw new IllegalArgumentException("use true or false");
        });
    }

    static Setting.Parser<String> choice(String... allowed) {
        return one(text -> {
            if (!List.of(allowed).contains(text)) {
                throw new IllegalArgumentException("use one of " + String.join(", ", allowed));
            }
            return text;
        });
    }

    /** Whole numbers; {@code 4k} is 4,000 and {@code 4K} is 4,096, as vLLM reads them; {@code auto} is 0 where {@code auto} is set. */
    static Setting.Parser<Integer> count(int min, int max, boolean auto) {
        return one(text -> {
            if (auto && text.equals("auto")) {
                return 0;
            }
            String limits = "use a whole number from " + min + " to " + max + (auto ? ", or auto" : "");
            Matcher amount = AMOUNT.matcher(text);
            if (!amount.matches()) {
                throw new IllegalArgumentException(limits);
            }
            double factor = switch (amount.group(2)) {
                case "" -> 1;
                case "k" -> 1e3;
                case "K" -> 1024;
                case "m" -> 1e6;
                case "M" -> 1024 * 1024;
                default -> throw new IllegalArgumentException(limits);
            };
            double value = Double.parseDouble(amount.group(1)) * factor;
            if (value != Math.rint(value) || value < min || value > max) {
                throw new IllegalArgumentException(limits);
            }
            return (int) value;
        });
    }

    /** Bytes with an optional unit: {@code 512M}, {@code 2GiB}; all units are powers of 1,024. */
    static Setting.Parser<Long> bytes() {
        return one(text -> {
            if (text.equals("auto")) {
                return 0L;
            }
            Matcher amount = AMOUNT.matcher(text);
            String remedy = "use bytes such as 2GiB, 512M or 1073741824, or auto";
            if (!amount.matches()) {
                throw new IllegalArgumentException(remedy);
            }
            double factor = switch (amount.group(2).toLowerCase(Locale.ROOT)) {
                case "", "b" -> 1;
                case "k", "kb", "kib" -> 1L << 10;
                case "m", "mb", "mib" -> 1L << 20;
                case "g", "gb", "gib" -> 1L << 30;
                case "t", "tb", "tib" -> 1L << 40;
                default -> throw new IllegalArgumentException(remedy);
            };
            double value = Double.parseDouble(amount.group(1)) * factor;
            if (value < 1 || value > (1L << 50)) {
                throw new IllegalArgumentException(remedy);
            }
            return (long) value;
        });
    }

    static Setting.Parser<OptionalLong> seed() {
        return one(text -> {
            if (text.equals("random")) {
                return OptionalLong.empty();
            }
            try {
                return OptionalLong.of(Long.parseLong(text));
            } catch (NumberFormatException e) {
                throw new IllegalArgumentException("use a whole number of 64 bits, or random", e);
            }
        });
    }

    static Setting.Parser<Double> fraction(double min, double max) {
        return one(text -> {
            String limits = "use a number above " + min + " and up to " + max;
            double value;
            try {
                value = Double.parseDouble(text);
            } catch (NumberFormatException e) {
                throw new IllegalArgumentException(limits, e);
            }
            if (!(value > min && value <= max)) {
                throw new IllegalArgumentException(limits);
            }
            return value;
        });
    }

    /** Seconds, fractions allowed. */
    static Setting.Parser<java.time.Duration> seconds(int max) {
        return seconds(0, max);
    }

    static Setting.Parser<java.time.Duration> seconds(int min, int max) {
        return one(text -> {
            String limits = "use seconds from " + min + " to " + max;
            double value;
            try {
                value = Double.parseDouble(text);
            } catch (NumberFormatException e) {
                throw new IllegalArgumentException(limits, e);
            }
            if (!(value >= min && value <= max)) {
                throw new IllegalArgumentException(limits);
            }
            return java.time.Duration.ofMillis(Math.round(value * 1000));
        });
    }

    static Setting.Parser<List<String>> list() {
        return texts -> {
            if (texts.stream().anyMatch(String::isBlank)) {
                throw new IllegalArgumentException("an empty entry is not allowed");
            }
            return List.copyOf(texts);
        };
    }
}
