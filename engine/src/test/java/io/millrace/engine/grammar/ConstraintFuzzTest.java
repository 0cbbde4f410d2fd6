package io.millrace.engine.grammar;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.millrace.engine.grammar.json.SchemaOptions;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/**
 * Property: no schema, expression or grammar, however mangled, does anything but compile or be refused, within a second of processor time;
 * and what compiles can be walked at random without an error or a dead end, with masks made in bounded processor time.
 */
class ConstraintFuzzTest {
    private static final long LIMIT_NANOS = 1_000_000_000L;
    private static final long MASK_NANOS = 250_000_000L;
    private final MemorySegment mask = Arena.ofAuto().allocate(ConstraintCursor.maskBytes(256), 8);
    private final ConstraintCompiler compiler = Grammars.overBytes();
    private final Random random = new Random(2026);
    private int numCompiled;

    private void tryOut(ConstraintSpec spec) {
        long start = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
        try {
            ConstraintCursor cursor = compiler.compile(spec).begin();
            numCompiled++;
            for (int step = 0; step < 60 && !cursor.isComplete(); step++) {
                long before = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
                assertThat(cursor.fill(mask, new int[0]) || cursor.accepts()).as("a mask with nothing in it in %s", spec).isTrue();
                assertThat(ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - before).as("time for a mask of %s", spec).isLessThan(MASK_NANOS);
                int from = random.nextInt(256);
                int b = 0;
                while (b < 256 && !cursor.advance(from + b & 0xFF)) {
                    b++;
                }
                assertThat(b).as("a dead end in %s", spec).isLessThan(256);
            }
        } catch (GrammarException e) {
            assertThat(e.getMessage()).isNotBlank();
        }
        assertThat(ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - start).as("time for %s", spec).isLessThan(LIMIT_NANOS);
    }

    @Test
    void mangledSchemas() {
        List<JsonNode> seeds = new ArrayList<>();
        for (Path file : Grammars.jsonFiles(Grammars.data("structured/json-schema-test-suite/draft2020-12"))) {
            Grammars.tree(file).forEach(group -> seeds.add(group.get("schema")));
        }
        for (int i = 0; i < 3000; i++) {
            JsonNode schema = seeds.get(random.nextInt(seeds.size())).deepCopy();
            for (int n = random.nextInt(4); n >= 0; n--) {
                schema = mutate(schema, seeds);
            }
            SchemaOptions options = random.nextBoolean() ? SchemaOptions.REQUESTS : SchemaOptions.STANDARD;
            String text = schema.toString();
            tryOut(new ConstraintSpec.JsonSchema(random.nextInt(10) == 0 ? mangle(text, "{}[]\",:0aé\\") : text, options));
        }
        assertThat(numCompiled).isGreaterThan(500);
    }

    /** Replaces, wraps, removes or multiplies something somewhere. */
    private JsonNode mutate(JsonNode node, List<JsonNode> seeds) {
        if (node instanceof ObjectNode object && !object.isEmpty() && random.nextInt(5) > 0) {
            List<String> names = new ArrayList<>();
            object.fieldNames().forEachRemaining(names::add);
            String name = names.get(random.nextInt(names.size()));
            switch (random.nextInt(6)) {
                case 0 -> object.remove(name);
                case 1 -> object.set(names.get(random.nextInt(names.size())), object.get(name).deepCopy());
                case 2 -> object.set(new String[] {"allOf", "anyOf", "oneOf", "items", "required", "const", "minLength", "maximum", "$ref"}[random.nextInt(9)],
                        seeds.get(random.nextInt(seeds.size())).deepCopy());
                default -> object.set(name, mutate(object.get(name), seeds));
            }
            return object;
        }
        if (node instanceof ArrayNode array && !array.isEmpty() && random.nextInt(4) > 0) {
            int at = random.nextInt(array.size());
            if (random.nextBoolean()) {
                array.set(at, mutate(array.get(at), seeds));
            } else {
                array.add(array.get(at).deepCopy());
            }
            return array;
        }
        return switch (random.nextInt(7)) {
            case 0 -> Grammars.JSON.getNodeFactory().numberNode(random.nextInt(2000) - 3);
            case 1 -> Grammars.JSON.getNodeFactory().numberNode(new java.math.BigDecimal("1e" + (random.nextInt(2000) - 1000)));
            case 2 -> Grammars.JSON.getNodeFactory().textNode(mangle("^(a|b)*[0-9]{2,5}$", "^$()[]*+?{}|\\dw"));
            case 3 -> Grammars.JSON.createArrayNode().add(node.deepCopy()).add(node.deepCopy());
            case 4 -> Grammars.JSON.createObjectNode().set("anyOf", Grammars.JSON.createArrayNode().add(node.deepCopy()).add(true));
            case 5 -> Grammars.JSON.createObjectNode().put("$ref", "#");
            default -> seeds.get(random.nextInt(seeds.size())).deepCopy();
        };
    }

    private String mangle(String text, String chars) {
        StringBuilder out = new StringBuilder(text);
        for (int n = 1 + random.nextInt(4); n > 0 && !out.isEmpty(); n--) {
            int at = random.nextInt(out.length());
            switch (random.nextInt(3)) {
                case 0 -> out.deleteCharAt(at);
                case 1 -> out.insert(at, chars.charAt(random.nextInt(chars.length())));
                default -> out.insert(at, out.substring(at, Math.min(out.length(), at + random.nextInt(12))));
            }
        }
        return out.toString();
    }

    @Test
    void mangledExpressions() {
        String[] seeds = {"^(a+)+[b-z]*$", "(\\d{1,3}\\.){3}\\d{1,3}", "[^\\\"\\\\]*(\\p{Lu}|é|[\\u4e00-\\u9fff]){2,9}", "(foo|bar(baz)?){0,40}x", "(?<n>.{3,30})|\\x41\\cA"};
        for (int i = 0; i < 2000; i++) {
            tryOut(new ConstraintSpec.Regex(mangle(mangle(seeds[random.nextInt(seeds.length)], "()[]{}*+?|\\^$.-,09auxp"), "(){}*+?|\\")));
        }
        assertThat(numCompiled).isGreaterThan(200);
    }

    @Test
    void mangledGrammars() {
        String[] seeds = {"root ::= (expr \"=\" term \"\\n\")+\nexpr ::= term ([-+*/] term)*\nterm ::= [0-9]+ | \"(\" expr \")\" | ident\nident ::= [a-z] [a-z0-9_]*",
            "root ::= object\nvalue ::= object | array | string | \"true\"\nobject ::= \"{\" (string \":\" value (\",\" value){0,3})? \"}\"\narray ::= \"[\" value* \"]\"\nstring ::= \"\\\"\" [^\"\\\\\\x00-\\x1f]* \"\\\"\"",
            "root ::= a | b # c\na ::= \"a\" root? a\nb ::= \"b\" (root | \"\")"};
        for (int i = 0; i < 2000; i++) {
            tryOut(new ConstraintSpec.Grammar(mangle(seeds[random.nextInt(seeds.length)], "()[]{}*+?|\\\"^ =:\n#ab.-")));
        }
        assertThat(numCompiled).isGreaterThan(200);
    }

    @Test
    void hugeAndDeepOnesAreRefusedSoon() {
        List<ConstraintSpec> specs = List.of(new ConstraintSpec.JsonSchema("{\"enum\":[" + "\"abc\",".repeat(1_700_000) + "1]}", SchemaOptions.REQUESTS),
                new ConstraintSpec.JsonSchema("[".repeat(900_000), SchemaOptions.REQUESTS),
                new ConstraintSpec.JsonSchema("{\"items\":".repeat(5000) + "{}" + "}".repeat(5000), SchemaOptions.REQUESTS),
                new ConstraintSpec.JsonSchema("{\"items\":".repeat(250) + "{}" + "}".repeat(250), SchemaOptions.REQUESTS),
                new ConstraintSpec.JsonSchema("{\"allOf\":[" + "{\"anyOf\":[{\"minimum\":1},{\"maxLength\":2},{\"maxItems\":3}]},".repeat(30) + "true]}", SchemaOptions.STANDARD),
                new ConstraintSpec.JsonSchema("{\"type\":\"string\",\"pattern\":\"(a|b)*a(a|b){24}\"}", SchemaOptions.REQUESTS),
                new ConstraintSpec.JsonSchema("{\"const\":1e1000000000}", SchemaOptions.REQUESTS),
                new ConstraintSpec.JsonSchema("{\"$ref\":\"#\"}", SchemaOptions.REQUESTS),
                new ConstraintSpec.JsonSchema("{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", SchemaOptions.REQUESTS),
                new ConstraintSpec.JsonSchema("{\"$ref\":\"https://example.com/schema.json\"}", SchemaOptions.REQUESTS),
                new ConstraintSpec.Grammar("root ::= " + "(".repeat(100_000)), new ConstraintSpec.Grammar("root ::= \"a\"{10000}{10000}"),
                new ConstraintSpec.Grammar("#".repeat(10 << 20)), new ConstraintSpec.Regex("a".repeat(10 << 20)),
                new ConstraintSpec.Choice(List.of("x".repeat(10 << 20))), new ConstraintSpec.Choice(List.of()));
        for (ConstraintSpec spec : specs) {
            long start = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
            String shown = spec.toString();
            assertThatThrownBy(() -> compiler.compile(spec)).as(shown.substring(0, Math.min(100, shown.length()))).isInstanceOf(GrammarException.class);
            assertThat(ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - start).as(shown.substring(0, Math.min(100, shown.length())))
                    .isLessThan(LIMIT_NANOS);
        }
    }

    @Test
    void ambiguousGrammarsStayBounded() {
        ConstraintSpec spec = new ConstraintSpec.Grammar("root ::= \"a\" (root | other)?\nother ::= \"a\" (root | other) \"b\"? | \"a\"");
        ConstraintCursor cursor = compiler.compile(spec).begin();
        long start = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
        for (int i = 0; i < 2000; i++) {
            assertThat(cursor.advance('a')).isTrue();
        }
        assertThat(ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - start).isLessThan(5 * LIMIT_NANOS);
    }
}
