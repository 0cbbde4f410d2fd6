package io.millrace.server.openai;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/** Guards that the shown text ends before the first stop string however the text is cut into pieces, and that nothing else is lost. */
class StopMatcherTest {
    @Test
    void agreesWithASearchOfTheWholeTextForEveryCutting() {
        SplittableRandom random = new SplittableRandom(20);
        for (int round = 0; round < 20_000; round++) {
            String text = letters(random, random.nextInt(30));
            List<String> stops = new ArrayList<>();
            for (int i = random.nextInt(1, 4); i > 0; i--) {
                stops.add(letters(random, random.nextInt(1, 5)));
            }
            boolean include = random.nextBoolean();
            StopMatcher matcher = new StopMatcher(stops, include);
            StringBuilder shown = new StringBuilder();
            int at = 0;
            while (at < text.length() && matcher.matched() == null) {
                int next = Math.min(text.length(), at + random.nextInt(4));
                shown.append(matcher.append(text.substring(at, next), true));
                at = next;
                assertThat(text).startsWith(shown.toString());
            }
            if (matcher.matched() == null) {
                shown.append(matcher.flush());
                assertThat(shown.toString()).isEqualTo(text);
                assertThat(stops).noneMatch(text::contains);
            } else {
                // A stop string is seen when its last character arrives; among those seen by then the earliest beginning counts.
                String seen = text.substring(0, at);
                int first = stops.stream().mapToInt(seen::indexOf).filter(i -> i >= 0).min().orElseThrow();
                String expected = seen.substring(0, first) + (include ? matcher.matched() : "");
                assertThat(shown.toString()).as("%s in %s", stops, text).isEqualTo(expected);
            }
        }
    }

    @Test
    void holdsBackNoMoreThanWhatMayBecomeAStopString() {
        StopMatcher matcher = new StopMatcher(List.of("END", "\n\n"), false);
        assertThat(matcher.append("hello E", true)).isEqualTo("hello ");
        assertThat(matcher.append("N", true)).isEmpty();
        assertThat(matcher.append("x\n", true)).isEqualTo("ENx");
        assertThat(matcher.append("\nrest", true)).isEmpty();
        assertThat(matcher.matched()).isEqualTo("\n\n");
    }

    @Test
    void showsEverythingWhileStopStringsDoNotCount() {
        StopMatcher matcher = new StopMatcher(List.of("b"), false);
        assertThat(matcher.append("abc", false)).isEqualTo("abc");
        assertThat(matcher.append("ab", true)).isEqualTo("a");
        assertThat(matcher.matched()).isEqualTo("b");
    }

    private static String letters(SplittableRandom random, int length) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < length; i++) {
            text.append((char) ('a' + random.nextInt(3)));
        }
        return text.toString();
    }
}
