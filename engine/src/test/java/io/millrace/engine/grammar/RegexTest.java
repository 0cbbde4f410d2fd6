package io.millrace.engine.grammar;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.management.ManagementFactory;
import java.util.Random;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Property: expressions match what java.util.regex matches, for the syntax both share; what a finite automaton cannot do is refused with its place. */
class RegexTest {
    private final ConstraintCompiler compiler = Grammars.overBytes();

    private Constraint regex(String pattern) {
        return compiler.compile(new ConstraintSpec.Regex(pattern));
    }

    @Test
    void matchesAsTheReferenceDoes() {
        String[] atoms = {"a", "b", "c", "[ab]", "[^a]", "[b-c]", ".", "\\d", "(?:ab|c)", "(a|bc)", "(?:x?)", "\\w", "é", "[à-ü]", "𝄞"};
        String[] suffixes = {"", "", "*", "+", "?", "{2}", "{1,2}", "{0,3}", "*?"};
        String[] alphabet = {"a", "b", "c", "x", "1", "é", "𝄞", " ", "\n"};
        Random random = new Random(11);
        for (int i = 0; i < 300; i++) {
            StringBuilder pattern = new StringBuilder();
            for (int n = 1 + random.nextInt(4); n > 0; n--) {
                pattern.append(atoms[random.nextInt(atoms.length)]).append(suffixes[random.nextInt(suffixes.length)]);
                pattern.append(random.nextInt(6) == 0 ? "|" : "");
            }
            Pattern reference = Pattern.compile(pattern.toString(), Pattern.UNIX_LINES);
            Constraint constraint = regex(pattern.toString());
            for (int k = 0; k < 40; k++) {
                StringBuilder text = new StringBuilder();
                for (int n = random.nextInt(6); n > 0; n--) {
                    text.append(alphabet[random.nextInt(alphabet.length)]);
                }
                assertThat(Grammars.accepts(constraint, text.toString())).as("%s on %s", pattern, text)
                        .isEqualTo(reference.matcher(text).matches());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"(a)\\1", "(?=a)b", "(?!a)b", "(?<=a)b", "\\bword", "[.*", "(a", "a)", "*a", "a{3,2}", "\\p{Nope}", "a**", "\\k<n>",
        "[z-a]", "a\\", "\\ud800", "(?i)a", "a++"})
    void refusesWithAPosition(String pattern) {
        assertThatThrownBy(() -> regex(pattern)).isInstanceOfSatisfying(GrammarException.class,
                e -> assertThat(e.where()).startsWith("position "));
    }

    @ParameterizedTest
    @ValueSource(strings = {"(a+)+$", "(a|a)*b", "(.*)*(.*)*(.*)*x", "(a*)*b", "(a|aa)+$", "([a-z]+)*=([a-z]+)*", "(x+x+)+y"})
    void catastrophicOnesCompileAndRunInNoTime(String pattern) {
        long start = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
        Constraint constraint = regex(pattern);
        Grammars.accepts(constraint, "a".repeat(5000) + "!");
        assertThat(ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - start).isLessThan(5_000_000_000L);
    }

    @ParameterizedTest
    @ValueSource(strings = {"(a{1000}){1000}", "(a|b)*a(a|b){30}", "((a{0,99}){0,99}){0,99}", ".{99999}", "(((((a?){50}){50}){50}){50}){50}",
        "(.{0,2000}x.{0,2000}y)*"})
    void oversizedOnesAreRefusedSoon(String pattern) {
        long start = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
        assertThatThrownBy(() -> regex(pattern)).isInstanceOf(GrammarException.class);
        assertThat(ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - start).isLessThan(5_000_000_000L);
    }

    @Test
    void whatMatchesNothingIsRefused() {
        assertThatThrownBy(() -> regex("a^b")).isInstanceOf(GrammarException.class).hasMessageContaining("matches no text");
    }

    @Test
    void anchorsHoldInTheMiddle() {
        assertThat(Grammars.accepts(regex("(^a|b)c$"), "ac")).isTrue();
        assertThat(Grammars.accepts(regex("(^a|b)c$"), "bc")).isTrue();
        assertThat(Grammars.accepts(regex("x(^a|b)c$"), "xac")).isFalse();
    }
}
