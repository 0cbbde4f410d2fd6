package io.millrace.engine.grammar;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.engine.grammar.json.SchemaOptions;
import io.millrace.engine.grammar.mask.ByteVocabulary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.lang.ref.WeakReference;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Property: no constraint makes a mask, a table or a compilation cost more than a bound; what is beyond is refused or says that it ends. */
class ConstraintBoundsTest {
    private static final long MASK_NANOS = 250_000_000L;
    private static final long COMPILE_NANOS = 2_000_000_000L;

    private final ByteVocabulary vocabulary = vocabulary();
    private final int end = vocabulary.size() - 1;
    private final ConstraintCompiler compiler = new ConstraintCompiler(() -> vocabulary);

    /** All bytes, all texts of two or three letters, an end. */
    private static ByteVocabulary vocabulary() {
        List<byte[]> tokens = new ArrayList<>();
        for (int b = 0; b < 256; b++) {
            tokens.add(new byte[] {(byte) b});
        }
        for (byte a = 'a'; a <= 'z'; a++) {
            for (byte b = 'a'; b <= 'z'; b++) {
                tokens.add(new byte[] {a, b});
                for (byte c = 'a'; c <= 'z'; c++) {
                    tokens.add(new byte[] {a, b, c});
                }
            }
        }
        tokens.add(null);
        return new ByteVocabulary(tokens.toArray(new byte[0][]));
    }

    private static long cpu() {
        return ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
    }

    /** Two rules that call each other in two ways, level by level: 2^n stacks wait after n levels. */
    static String twoWays(int levels) {
        StringBuilder text = new StringBuilder("root ::= b0 | c0\n");
        for (String rule : new String[] {"b", "c"}) {
            for (int i = 0; i < levels; i++) {
                text.append(rule).append(i).append(" ::= b").append(i + 1).append(" \"x\" | c").append(i + 1).append(" \"y\"\n");
            }
            text.append(rule).append(levels).append(" ::= [a-z] root | \"!\"\n");
        }
        return text.toString();
    }

    private static String letterThenMany(int count) {
        return "root ::= [a-z]* (" + IntStream.rangeClosed('a', 'z').mapToObj(c -> "\"" + (char) c + "\" [a-z]{" + count + "}").collect(Collectors.joining(" | ")) + ")";
    }

    private static String tools(int count) {
        return IntStream.range(0, count).mapToObj(i -> "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"name\":{\"const\":\"tool" + i
                + "\"},\"arguments\":{\"type\":\"object\",\"properties\":{\"p" + i + "\":{\"type\":\"integer\"}}}},\"required\":[\"name\",\"arguments\"]}")
                .collect(Collectors.joining(",", "{\"anyOf\":[", "]}"));
    }

    /** @return masks that were made until the text ended or could not go on */
    private int walk(Constraint constraint, int maxTokens) {
        Random random = new Random(1);
        ConstraintCursor cursor = constraint.begin();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment mask = arena.allocate(ConstraintCursor.maskBytes(vocabulary.size()), 8);
            for (int n = 1; n <= maxTokens; n++) {
                long start = cpu();
                boolean any = cursor.fill(mask, new int[] {end});
                assertThat(cpu() - start).as("processor time of mask %s", n).isLessThan(MASK_NANOS);
                int[] allowed = IntStream.range(0, end).filter(id -> (mask.getAtIndex(ValueLayout.JAVA_INT, id / 32) >>> id % 32 & 1) != 0).toArray();
                assertThat(any).isEqualTo(allowed.length > 0 || cursor.accepts());
                if (allowed.length == 0) {
                    return n;
                }
                assertThat(cursor.advance(allowed[random.nextInt(allowed.length)])).isTrue();
            }
        }
        return maxTokens;
    }

    @Test
    void masksOfAmbiguousGrammarsAreBounded() {
        for (int levels = 1; levels < 8; levels++) {
            Constraint constraint;
            try {
                constraint = compiler.compile(new ConstraintSpec.Grammar(twoWays(levels)));
            } catch (GrammarException e) {
                assertThat(levels).as("levels refused").isGreaterThan(5);
                assertThat(e).hasMessageContaining("begins in too many ways");
                continue;
            }
            assertThat(walk(constraint, 30)).isPositive();
        }
        assertThatThrownBy(() -> compiler.compile(new ConstraintSpec.Grammar(twoWays(12)))).isInstanceOf(GrammarException.class);
    }

    @Test
    void tablesOfAGrammarAreBounded() {
        Constraint constraint = compiler.compile(new ConstraintSpec.Grammar(letterThenMany(1900)));
        walk(constraint, 120);
        assertThat(constraint.bytes()).isLessThan(64L << 20);
        assertThat(compiler.compile(new ConstraintSpec.Grammar(letterThenMany(1900)))).as("one with empty tables").isNotSameAs(constraint);
    }

    @Test
    void aHundredToolsCanBeCalledAndThreeHundredAreRefused() {
        Constraint hundred = Grammars.schema(compiler, tools(100), SchemaOptions.REQUESTS);
        for (int i = 0; i < 100; i++) {
            ConstraintCursor cursor = hundred.begin();
            for (byte b : ("{\"name\":\"tool" + i + "\",\"arguments\":{\"p" + i + "\":1}}").getBytes(StandardCharsets.UTF_8)) {
                assertThat(cursor.allows(b)).as("tool %s", i).isTrue();
                assertThat(cursor.advance(b)).isTrue();
            }
            assertThat(cursor.accepts()).isTrue();
        }
        assertThatThrownBy(() -> Grammars.schema(compiler, tools(300), SchemaOptions.REQUESTS)).isInstanceOf(GrammarException.class)
                .hasMessageContaining("128 objects");
    }

    @Test
    void anEndTokenThatTheTextNeedsStaysAllowed() {
        ConstraintCursor cursor = compiler.compile(new ConstraintSpec.Choice(List.of("{"))).begin();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment mask = arena.allocate(ConstraintCursor.maskBytes(vocabulary.size()), 8);
            assertThat(cursor.fill(mask, new int[] {end, '{'})).isTrue();
            assertThat(mask.getAtIndex(ValueLayout.JAVA_INT, '{' / 32) >>> '{' % 32 & 1).isOne();
            assertThat(mask.getAtIndex(ValueLayout.JAVA_INT, end / 32) >>> end % 32 & 1).isZero();
        }
    }

    @Test
    void manyOptionalPropertiesTakeAsManyStagesAsThereAreProperties() {
        Constraint constraint = Grammars.schema(compiler, IntStream.range(0, 300).mapToObj(i -> "\"key" + i + "\":{\"type\":\"integer\"}")
                .collect(Collectors.joining(",", "{\"type\":\"object\",\"properties\":{", "},\"required\":[\"key150\"]}")), SchemaOptions.REQUESTS);
        Random random = new Random(5);
        for (int run = 0; run < 40; run++) {
            String text = IntStream.range(0, 300).filter(i -> i == 150 || random.nextInt(10) == 0).mapToObj(i -> "\"key" + i + "\":1")
                    .collect(Collectors.joining(",", "{", "}"));
            ConstraintCursor cursor = constraint.begin();
            for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
                assertThat(cursor.advance(b)).isTrue();
            }
            assertThat(cursor.accepts()).isTrue();
        }
        assertThat(constraint.isWornOut()).isFalse();
    }

    @Test
    void longCompilationsAreRefusedSoon() {
        StringBuilder chain = new StringBuilder("root ::= r0 \"a\"\n");
        for (int i = 0; i < 12_000; i++) {
            chain.append('r').append(i).append(" ::= r").append(i + 1).append('\n');
        }
        String classes = IntStream.range(0, 9000).mapToObj(i -> "[\\p{L}" + (char) (0xE000 + i % 6000) + "]").collect(Collectors.joining());
        String patterns = IntStream.range(0, 1000).mapToObj(i -> "\"^k" + i + "[a-z]{3}\":{\"type\":\"integer\"}")
                .collect(Collectors.joining(",", "{\"type\":\"object\",\"patternProperties\":{", "}}"));
        for (ConstraintSpec spec : List.of(new ConstraintSpec.Grammar(chain + "r12000 ::= \"b\"?"), new ConstraintSpec.Regex(classes),
                new ConstraintSpec.JsonSchema(patterns, SchemaOptions.REQUESTS))) {
            long start = cpu();
            assertThatThrownBy(() -> compiler.compile(spec)).isInstanceOf(GrammarException.class);
            assertThat(cpu() - start).isLessThan(COMPILE_NANOS);
        }
    }

    /** Each comes to some 7 MB; all together they would to 1.4 GB. */
    @Test
    void largeConstraintsOneAfterTheOtherAreForgotten() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment mask = arena.allocate(ConstraintCursor.maskBytes(vocabulary.size()), 8);
            List<WeakReference<Constraint>> all = new ArrayList<>();
            for (int i = 0; i < 60; i++) {
                String text = "n" + i + IntStream.range(0, 19_000).mapToObj(j -> String.valueOf((char) ('!' + j % 93))).collect(Collectors.joining());
                Constraint constraint = compiler.compile(new ConstraintSpec.Choice(List.of(text)));
                assertThat(constraint.bytes()).isGreaterThan(7_000_000L);
                assertThat(constraint.begin().fill(mask, new int[] {end})).isTrue();
                all.add(new WeakReference<>(constraint));
            }
            System.gc();
            assertThat(all.stream().filter(one -> one.get() != null).count()).isLessThan(25);
        }
    }
}
