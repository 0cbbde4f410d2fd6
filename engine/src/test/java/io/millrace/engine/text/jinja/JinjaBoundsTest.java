package io.millrace.engine.text.jinja;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Guards: no template runs long, grows large or overflows the stack, whatever it nests or multiplies. */
@Timeout(60)
class JinjaBoundsTest {
    @ParameterizedTest
    @ValueSource(strings = {
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
        "{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}",
        "{{ 'a' * 1000000000 }}",
        "{{ 1000000000 * 'a' }}",
        "{{ [1] * 1000000000 }}",
        "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s|replace('', ns.s) %}{% endfor %}",
        "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s]|join(ns.s) %}{% endfor %}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson }}",
        "{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(50000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(50000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s|tojson }}",
        "{% set ns = namespace(s=(1,)) %}{% for i in range(50000) %}{% set ns.s = (ns.s,) %}{% endfor %}{{ {ns.s: 1} }}",
        "{% set ns = namespace(s=(1,)) %}{% for i in range(64) %}{% set ns.s = (ns.s, ns.s) %}{% endfor %}{{ {ns.s: 1} }}",
        "{{ range(100000000) }}",
        "{{ 9 ** 999999999 }}",
        "{% set ns = namespace(n=9) %}{% for i in range(100) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
        "{{ 'x'|center(1000000000) }}",
        "{{ 'x'.ljust(1000000000) }}",
        "{{ 'x'|indent(1000000000, true) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '%.999999999f' % 1.0 }}",
        "{{ [1]|tojson(indent=1000000000) }}",
        "{{ [1]|batch(1000000000, 0) }}",
        "{{ [1]|slice(1000000000)|list }}",
        "{% for i in range(100000) %}{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' * 100 }}{% endfor %}",
    })
    void explosionsEndInAnErrorSoon(String template) {
        long begin = System.nanoTime();
        assertThatThrownBy(() -> JinjaTemplate.compile(template).render(Map.of())).isInstanceOf(JinjaException.class);
        Duration duration = Duration.ofNanos(System.nanoTime() - begin);
        assertThat(duration).as(template).isLessThan(Duration.ofSeconds(20));
    }

    /** Properties: no single call escapes the budget, and searching takes time linear in what is searched and what for. */
    @ParameterizedTest
    @ValueSource(strings = {
        "s.find(t)", "s.rfind(u)", "s.index(s)", "s.count(t)", "t in s", "u not in s", "s.split(t)|length", "s.rsplit(u)|length",
        "s.partition(t)", "s.rpartition(u)", "s.replace(t, '')|length", "s|replace(t, '')|length", "s.strip(c)|length", "s.isdigit()",
        "s.isalpha()", "s.isspace()", "s.startswith(t)", "s.endswith(u)", "s.removeprefix(t)|length", "s.removesuffix(u)|length",
        "s.format()|length", "s.center(1)|length", "s.zfill(1)|length", "l|striptags|length", "s|wordwrap(1)|length", "s|wordcount",
        "[s, t, 'b', u]|sort|length"})
    void textCallsAreChargedAndLinear(String call) {
        String texts = "{% set s = 'a' * 400000 %}{% set t = 'a' * 200000 ~ 'b' %}{% set u = 'b' ~ 'a' * 200000 %}{% set l = '<' * 400000 %}"
                + "{% set c = 'bcdefghijklmnopqrstuvwxyz' * 10000 ~ 'a' %}";
        long begin = System.nanoTime();
        JinjaTemplate.compile(texts + "{{ " + call + " }}").render(Map.of());
        assertThat(Duration.ofNanos(System.nanoTime() - begin)).as(call).isLessThan(Duration.ofSeconds(3));
        // 30,000 calls on 400,000 characters: without a charge that is far too much.
        String loop = texts + "{% for i in range(30000) %}{% set x = " + call + " %}{% endfor %}";
        begin = System.nanoTime();
        assertThatThrownBy(() -> JinjaTemplate.compile(loop).render(Map.of())).isInstanceOf(JinjaException.class)
                .hasMessageContaining("evaluation steps");
        assertThat(Duration.ofNanos(System.nanoTime() - begin)).as(call).isLessThan(Duration.ofSeconds(10));
    }

    /** Property: the linear search finds what the JDK's does, in both directions, for short and long parts that overlap themselves. */
    @Test
    void searchAgreesWithTheJdk() {
        java.util.Random random = new java.util.Random(7);
        for (int i = 0; i < 3000; i++) {
            String part = random.ints(random.nextInt(40), 'a', 'c').mapToObj(Character::toString).collect(java.util.stream.Collectors.joining());
            String text = random.ints(random.nextInt(200), 'a', 'c').mapToObj(Character::toString).collect(java.util.stream.Collectors.joining())
                    + (i % 2 == 0 ? part.repeat(2) : part) + "ab";
            int at = random.nextInt(text.length() + 1);
            assertThat(TextSearch.forward(part, new Budget()).from(text, at)).isEqualTo(text.indexOf(part, at));
            int expected = at < part.length() ? -1 : text.lastIndexOf(part, at - part.length());
            assertThat(TextSearch.backward(part, new Budget()).before(text, at)).isEqualTo(expected);
        }
    }

    /** Property: whatever goes wrong in a template is a JinjaException: types that Python refuses, and what nobody foresaw. */
    @Test
    void everyFailureIsAJinjaException() {
        for (String format : List.of("'%x' % 1.5", "'%o' % 1.5", "'%X' % (1.5,)", "'%d' % (1e308 * 10)", "'%x' % 'a'")) {
            assertThatThrownBy(() -> JinjaTemplate.compile("{{ " + format + " }}").render(Map.of())).as(format)
                    .isInstanceOf(JinjaException.class).hasMessageContaining("is required");
        }
        assertThat(JinjaTemplate.compile("{{ '%d %x' % (1.9, 255) }} {{ '%d' % 1e20 }}").render(Map.of())).isEqualTo("1 ff 100000000000000000000");
        Callable broken = args -> {
            throw new IllegalStateException("unforeseen");
        };
        assertThatThrownBy(() -> JinjaTemplate.compile("{{ f() }}").render(Map.of("f", broken))).isInstanceOf(JinjaException.class)
                .hasMessageContaining("unforeseen");
        assertThat(JinjaTemplate.compile("{{ 'a <b>c</b>  d<!-- <x> --> e < f'|striptags }}").render(Map.of())).isEqualTo("a c d e < f");
    }

    @ParameterizedTest
    @ValueSource(strings = {"(", "[", "{1:", "-", "not ", "a[", "a(", "1 if 1 else ", "{{ ", "{% if 1 %}", "{% for a in b %}", "{% set a %}", "a.b.", "1+",
        "a|f(", "'", "{#", "{% raw %}"})
    void deepSourcesAreRefused(String unit) {
        String repeated = unit.repeat(100_000);
        for (String source : List.of("{{ " + repeated, "{% set x = " + repeated, "{% if 1 %}" + repeated)) {
            if (!source.startsWith("{% if") || unit.startsWith("{")) {
                assertThatThrownBy(() -> JinjaTemplate.compile(source).render(Map.of())).isInstanceOf(JinjaException.class);
            }
        }
    }

    @Test
    void longFlatChainsAreRefusedOrRendered() {
        for (String operator : List.of("+", "~", "*", " and ", " or ", "==", "-")) {
            String source = "{{ 1" + (operator + "1").repeat(50_000) + " }}";
            try {
                assertThat(JinjaTemplate.compile(source).render(Map.of())).isNotNull();
            } catch (JinjaException e) {
                assertThat(e.kind()).isEqualTo(JinjaException.Kind.LIMIT);
            }
        }
    }

    @Test
    void deeplyNestedMessagesAreRefused() {
        List<Object> nested = new ArrayList<>();
        for (int i = 0; i < 100_000; i++) {
            nested = new ArrayList<>(List.of(nested));
        }
        List<Object> messages = nested;
        assertThatThrownBy(() -> JinjaTemplate.compile("x").render(Map.of("messages", messages))).isInstanceOf(JinjaException.class);
    }

    @Test
    void aSourceOverTheLimitIsRefused() {
        assertThatThrownBy(() -> JinjaTemplate.compile("x".repeat(Budget.MAX_SOURCE_CHARS + 1))).isInstanceOf(JinjaException.class);
    }

    /** The bounds are far above honest use: a thousand turns of a chat. */
    @Test
    void aLongConversationRenders() {
        List<Map<String, Object>> messages = new ArrayList<>();
        for (int i = 0; i < 2000; i++) {
            messages.add(Map.of("role", i % 2 == 0 ? "user" : "assistant", "content", "word ".repeat(200)));
        }
        String template = "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m.content | trim }}\n{% endfor %}";
        assertThat(JinjaTemplate.compile(template).render(Map.of("messages", messages))).hasSizeGreaterThan(2000 * 999);
    }
}
