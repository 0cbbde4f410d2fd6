package io.millrace.server.openai;

import java.util.List;

/**
 * Ends a text before the first stop string. Text that may turn out to be the beginning of one is held back until that is decided, so no
 * part of a stop string is ever shown, however the tokens cut it.
 */
final class StopMatcher {
    private final List<String> stops;
    private final boolean include;
    private final StringBuilder held = new StringBuilder();
    private String matched;

    /** @param include whether the text ends after the stop string instead of before it */
    StopMatcher(List<String> stops, boolean include) {
        this.stops = stops;
        this.include = include;
    }

    /** The stop string that ended the text, or null. */
    String matched() {
        return matched;
    }

    /**
     * Takes the next piece and returns the text that is now certain to belong to the answer.
     *
     * @param active false while stop strings do not count yet (min_tokens)
     */
    String append(String text, boolean active) {
        if (stops.isEmpty()) {
            return text;
        }
        held.append(text);
        if (!active) {
            return take(held.length());
        }
        int end = -1;
        for (String stop : stops) {
            int at = held.indexOf(stop);
            if (at >= 0 && (end < 0 || at < end)) {
                end = at;
                matched = stop;
            }
        }
        if (end >= 0) {
            held.setLength(include ? end + matched.length() : end);
            return take(held.length());
        }
        return take(held.length() - undecided());
    }

    /** The rest, once no more text comes. */
    String flush() {
        return take(held.length());
    }

    /** Length of the longest end of the held text with which a stop string begins. */
    private int undecided() {
        int longest = 0;
        for (String stop : stops) {
            for (int length = Math.min(stop.length() - 1, held.length()); length > longest; length--) {
                if (endsWith(stop, length)) {
                    longest = length;
                }
            }
        }
        return longest;
    }

    private boolean endsWith(String stop, int length) {
        int from = held.length() - length;
        for (int i = 0; i < length; i++) {
            if (held.charAt(from + i) != stop.charAt(i)) {
                return false;
            }
        }
        return true;
    }

    private String take(int length) {
        String text = held.substring(0, length);
        held.delete(0, length);
        return text;
    }
}
