package io.millrace.engine.grammar;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.engine.grammar.json.SchemaOptions;
import io.millrace.engine.grammar.mask.ByteVocabulary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Properties of a text's place in its constraint: forks, steps back, end tokens, masks that say exactly what a step would do. */
class ConstraintCursorTest {
    private static final int END = 256;

    /** All single bytes, an end token without text, and pieces that cross the borders of JSON's tokens. */
    private static ByteVocabulary vocabulary() {
        List<byte[]> tokens = new ArrayList<>();
        for (int b = 0; b < 256; b++) {
            tokens.add(new byte[] {(byte) b});
        }
        tokens.add(null);
        for (String piece : new String[] {"{\"", "\":", "\", \"", "\"}", "name", "\"name\"", " \"", "true", "tr", "alse", "null}", "12", "3.5", "[[", "]]",
            "], [", "é", "日本", "\\u00", "\\n", "a\"}", "\"a\": 1", "hello world", "   ", "\n  ", "\n\n", "{\"name\": \"x\"}", "-1", "0", "𝄞", "\"\"", "xyz"}) {
            tokens.add(piece.getBytes(StandardCharsets.UTF_8));
        }
        byte[] half = "é".getBytes(StandardCharsets.UTF_8);
        tokens.add(new byte[] {'a', half[0]});
        tokens.add(new byte[] {half[1], '"'});
        return new ByteVocabulary(tokens.toArray(new byte[0][]));
    }

    private final ByteVocabulary vocabulary = vocabulary();
    private final ConstraintCompiler compiler = new ConstraintCompiler(() -> vocabulary);

    @Test
    void masksSayWhatStepsDo() {
        List<ConstraintSpec> specs = List.of(new ConstraintSpec.JsonObject(SchemaOptions.REQUESTS),
                new ConstraintSpec.JsonSchema("{\"type\":\"string\",\"maxLength\":7}", SchemaOptions.REQUESTS),
                new ConstraintSpec.JsonSchema("{\"type\":\"array\",\"items\":{\"enum\":[\"name\",\"é\",1,12,true,[[]]]},\"minItems\":1}", SchemaOptions.REQUESTS),
                new ConstraintSpec.JsonSchema("{\"properties\":{\"name\":{\"type\":\"string\",\"pattern\":\"^[a-z日本 ]+$\"},\"a\":{\"type\":\"number\"}}}",
                        SchemaOptions.STANDARD), new ConstraintSpec.Regex("(hello world|[^\"]{1,5}|\\d+)*"), new ConstraintSpec.Choice(List.of("true", "trial", "12")),
                new ConstraintSpec.Grammar("root ::= \"{\" root? \"}\" | [0-9]+ | \"[\" (root (\", \" root)*)? \"]\""));
        Random random = new Random(3);
        for (ConstraintSpec spec : specs) {
            Constraint constraint = compiler.compile(spec);
            for (int run = 0; run < 20; run++) {
                ConstraintCursor cursor = constraint.begin();
                for (int step = 0; step < 30 && !cursor.isComplete(); step++) {
                    List<Integer> allowed = new ArrayList<>();
                    for (int id = 0; id < vocabulary.size(); id++) {
                        boolean steps = cursor.fork().advance(id);
                        assertThat(cursor.allows(id)).as("token %s of %s", id, spec).isEqualTo(steps);
                        if (steps) {
                            allowed.add(id);
                        }
                    }
                    assertThat(allowed).as("a way on in %s", spec).isNotEmpty();
                    cursor.advance(allowed.get(random.nextInt(allowed.size())));
                }
            }
        }
    }

    @Test
    void endTokensAreAllowedExactlyWhereTheTextMayEnd() {
        ConstraintCursor cursor = compiler.compile(new ConstraintSpec.Choice(List.of("tr", "true"))).begin();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment mask = arena.allocate(ConstraintCursor.maskBytes(vocabulary.size()), 8);
            cursor.fill(mask, new int[] {END});
            assertThat(bit(mask, END)).isFalse();
            assertThat(bit(mask, 't')).isTrue();
            assertThat(bit(mask, 'x')).isFalse();
            cursor.advance('t');
            cursor.advance('r');
            cursor.fill(mask, new int[] {END});
            assertThat(bit(mask, END)).isTrue();
            assertThat(bit(mask, 'u')).isTrue();
            cursor.advance('u');
            cursor.advance('e');
            cursor.fill(mask, new int[] {END});
            assertThat(cursor.isComplete()).isTrue();
            for (int id = 0; id < vocabulary.size(); id++) {
                assertThat(bit(mask, id)).isEqualTo(id == END);
            }
        }
    }

    private static boolean bit(MemorySegment mask, int id) {
        return (mask.getAtIndex(ValueLayout.JAVA_INT, id / 32) >>> id % 32 & 1) != 0;
    }

    @Test
    void stepsBackAndForksAreIndependent() {
        ConstraintCursor cursor = compiler.compile(new ConstraintSpec.Regex("a(b|c)d")).begin();
        assertThat(cursor.advance('a')).isTrue();
        ConstraintCursor fork = cursor.fork();
        assertThat(cursor.advance('b')).isTrue();
        assertThat(cursor.advance('x')).isFalse();
        assertThat(cursor.advance('d')).isTrue();
        assertThat(cursor.accepts()).isTrue();
        cursor.rollback(2);
        assertThat(cursor.allows('c')).isTrue();
        assertThat(cursor.allows('d')).isFalse();
        assertThat(fork.advance('c')).isTrue();
        assertThat(fork.numTokens()).isEqualTo(2);
        assertThatThrownBy(() -> fork.rollback(3)).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void compiledConstraintsAreFoundAgainByContent() {
        String schema = "{\"type\":\"boolean\"}";
        assertThat(compiler.compile(new ConstraintSpec.JsonSchema(schema, SchemaOptions.REQUESTS)))
                .isSameAs(compiler.compile(new ConstraintSpec.JsonSchema(new String(schema.toCharArray()), SchemaOptions.REQUESTS)))
                .isNotSameAs(compiler.compile(new ConstraintSpec.JsonSchema(schema, SchemaOptions.STANDARD)));
    }

    @Test
    void vocabulariesWithoutSomeBytesAreNeverLedWhereTheyCannotGoOn() {
        byte[][] tokens = new byte[128][];
        for (int c = 0; c < 128; c++) {
            tokens[c] = c == 'q' ? "qu".getBytes(StandardCharsets.UTF_8) : new byte[] {(byte) c};
        }
        ConstraintCompiler ascii = new ConstraintCompiler(() -> new ByteVocabulary(tokens));
        ConstraintCursor cursor = ascii.compile(new ConstraintSpec.Regex("(aé|qx|b)c")).begin();
        assertThat(cursor.allows('a')).as("é cannot be written").isFalse();
        assertThat(cursor.allows('q')).as("q without u cannot be written").isFalse();
        assertThat(cursor.allows('b')).isTrue();
        assertThatThrownBy(() -> ascii.compile(new ConstraintSpec.Choice(List.of("é")))).isInstanceOf(GrammarException.class);
        byte[][] few = {{'a'}, {'b'}};
        assertThatThrownBy(() -> new ConstraintCompiler(() -> new ByteVocabulary(few)).compile(new ConstraintSpec.JsonObject(SchemaOptions.REQUESTS)))
                .isInstanceOf(GrammarException.class).hasMessageContaining("no token for `{`");
    }
}
