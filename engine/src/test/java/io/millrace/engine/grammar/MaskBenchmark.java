package io.millrace.engine.grammar;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.engine.grammar.json.SchemaOptions;
import io.millrace.engine.grammar.mask.ByteVocabulary;
import io.millrace.engine.text.HfTokenizer;
import io.millrace.engine.text.Tokenizer;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.CommandLineOptionException;
import org.openjdk.jmh.runner.options.CommandLineOptions;
import org.openjdk.jmh.runner.options.OptionsBuilder;

/**
 * What structured output costs a step and a request. {@code fresh}: the masks along random texts of all test schemas, each constraint
 * compiled anew before its first text, so that nothing of it is known. {@code cached}: the same states again. {@code compile}: a typical
 * request's schema, from its text to the first mask's state. Run by {@code scripts/bench-masks}; arguments are JMH's.
 */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(value = 1, jvmArgsAppend = {"-Xms2g", "-Xmx2g", "-XX:+UseSerialGC"})
@Warmup(iterations = 3, time = 3)
@Measurement(iterations = 5, time = 3)
public class MaskBenchmark {
    /** One text in one constraint: its tokens. */
    private record Walk(String schema, int[] tokens) {}

    @State(Scope.Thread)
    public static class Vocabulary {
        @Param("tokenizers/hf/cl100k")
        public String tokenizer;

        ByteVocabulary bytes;
        int[] end;
        MemorySegment mask;
        final List<Walk> walks = new ArrayList<>();

        @Setup
        public void load() {
            Path root = Path.of(System.getProperty("millrace.data"));
            try (Tokenizer loaded = HfTokenizer.load(root.resolve(tokenizer))) {
                // One id more than the tokenizer has ends a text: no byte of the vocabulary is missing for it.
                end = new int[] {loaded.vocabSize()};
                bytes = ByteVocabulary.of(loaded, end[0] + 1, end);
            }
            mask = Arena.ofAuto().allocate(ConstraintCursor.maskBytes(bytes.size()), 64);
            Random random = new Random(5);
            ConstraintCompiler compiler = compiler();
            for (JsonNode line : Grammars.lines(root.resolve("structured/llama_cpp_schemas.jsonl"))) {
                addWalks(compiler, line.get("schema").toString(), random);
            }
            for (Path file : Grammars.jsonFiles(root.resolve("structured/json-schema-test-suite/draft2020-12"))) {
                Grammars.tree(file).forEach(group -> addWalks(compiler, group.get("schema").toString(), random));
            }
        }

        ConstraintCompiler compiler() {
            return new ConstraintCompiler(() -> bytes);
        }

        private void addWalks(ConstraintCompiler compiler, String schema, Random random) {
            Constraint constraint;
            try {
                constraint = Grammars.schema(compiler, schema, SchemaOptions.REQUESTS);
            } catch (GrammarException e) {
                return;
            }
            for (int run = 0; run < 2; run++) {
                ConstraintCursor cursor = constraint.begin();
                List<Integer> tokens = new ArrayList<>();
                while (tokens.size() < 60 && !cursor.isComplete()) {
                    int token = random.nextInt(bytes.size());
                    while (!cursor.allows(token)) {
                        token = (token + 1) % bytes.size();
                    }
                    cursor.advance(token);
                    tokens.add(token);
                }
                walks.add(new Walk(schema, tokens.stream().mapToInt(Integer::intValue).toArray()));
            }
        }
    }

    /** The next state of all walks, one after the other. */
    @State(Scope.Thread)
    public static class Fresh {
        private int walk = -1;
        private int step;
        private String schema;
        private Constraint constraint;
        ConstraintCursor cursor;

        @Setup(Level.Invocation)
        public void advance(Vocabulary vocabulary) {
            while (walk < 0 || step == vocabulary.walks.get(walk).tokens.length) {
                walk = (walk + 1) % vocabulary.walks.size();
                step = 0;
                Walk next = vocabulary.walks.get(walk);
                if (!next.schema.equals(schema)) {
                    schema = next.schema;
                    constraint = Grammars.schema(vocabulary.compiler(), schema, SchemaOptions.REQUESTS);
                }
                cursor = constraint.begin();
                if (next.tokens.length > 0) {
                    return;
                }
            }
            cursor.advance(vocabulary.walks.get(walk).tokens[step++]);
        }
    }

    @Benchmark
    public long fresh(Vocabulary vocabulary, Fresh fresh) {
        fresh.cursor.fill(vocabulary.mask, vocabulary.end);
        return vocabulary.mask.get(ValueLayout.JAVA_LONG, 0);
    }

    @State(Scope.Thread)
    public static class Known {
        final List<ConstraintCursor> places = new ArrayList<>();
        int next;

        @Setup
        public void walk(Vocabulary vocabulary) {
            ConstraintCompiler compiler = vocabulary.compiler();
            for (Walk walk : vocabulary.walks.subList(0, 60)) {
                ConstraintCursor cursor = Grammars.schema(compiler, walk.schema, SchemaOptions.REQUESTS).begin();
                for (int token : walk.tokens) {
                    cursor.fill(vocabulary.mask, vocabulary.end);
                    places.add(cursor.fork());
                    cursor.advance(token);
                }
            }
        }
    }

    @Benchmark
    public long cached(Vocabulary vocabulary, Known known) {
        known.places.get(known.next++ % known.places.size()).fill(vocabulary.mask, vocabulary.end);
        return vocabulary.mask.get(ValueLayout.JAVA_LONG, 0);
    }

    @Benchmark
    public Object compile(Vocabulary vocabulary) {
        return Grammars.schema(vocabulary.compiler(), TYPICAL, SchemaOptions.REQUESTS).begin();
    }

    private static final String TYPICAL = """
            {"$defs":{"Address":{"type":"object","properties":{"street":{"type":"string","maxLength":80},"zip":{"type":"string","pattern":"^[0-9]{5}$"},
            "kind":{"anyOf":[{"enum":["home","work"]},{"type":"null"}]}},"required":["street","zip"],"additionalProperties":false}},
            "type":"object","properties":{"id":{"type":"integer","minimum":1},"name":{"type":"string","minLength":1},"when":{"type":"string","format":"date-time"},
            "score":{"type":"number","minimum":0,"maximum":1},"tags":{"type":"array","items":{"type":"string"},"maxItems":8},"active":{"type":"boolean"},
            "addresses":{"type":"array","items":{"$ref":"#/$defs/Address"}},"level":{"enum":["low","middle","high"]}},
            "required":["id","name","tags","addresses"],"additionalProperties":false}""";

    public static void main(String[] args) throws RunnerException, CommandLineOptionException {
        new Runner(new OptionsBuilder().parent(new CommandLineOptions(args)).include(MaskBenchmark.class.getSimpleName())
                .jvmArgsPrepend("--enable-native-access=ALL-UNNAMED", "-Dmillrace.data=" + System.getProperty("millrace.data")).build()).run();
    }
}
