package io.millrace.engine.grammar;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.networknt.schema.JsonSchema;
import com.networknt.schema.JsonSchemaFactory;
import com.networknt.schema.SchemaValidatorsConfig;
import com.networknt.schema.SpecVersion;
import io.millrace.engine.grammar.json.SchemaOptions;
import io.millrace.engine.grammar.mask.ByteVocabulary;
import io.millrace.engine.text.HfTokenizer;
import io.millrace.engine.text.Tokenizer;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Property: whatever is sampled under the masks ends in JSON that an independent validator finds valid, and no text ever comes to where no
 * token is allowed. Tokens are drawn evenly from all that are allowed, which is harsher than any temperature.
 */
class MaskedSamplingTest {
    private static final int MAX_TOKENS = 400;
    /** The validator and JSON Schema's ECMA-262 differ here (Java's regular expressions, a list of top-level domains), or formats are not ours to check. */
    private static final String NOT_COMPARED = ".*(\\\\\\\\p\\{|\\\\\\\\s|\\\\\\\\S|\\\\\\\\w|\\\\\\\\W|\\\\\\\\d|\\\\\\\\c|\\\\\\\\a|\"format\":\"(email|idn-|iri|json-pointer|relative|regex|uri|hostname)|bignum|\"not\":).*";

    @ParameterizedTest
    @CsvSource({"models/stories260K/hf-fp32, 4", "tokenizers/hf/gpt2, 2", "tokenizers/hf/phi-3, 2", "tokenizers/hf/cl100k, 1"})
    void randomTextsValidate(String folder, int runs) {
        ByteVocabulary vocabulary;
        try (Tokenizer tokenizer = HfTokenizer.load(Grammars.data(folder))) {
            vocabulary = ByteVocabulary.of(tokenizer, tokenizer.vocabSize() + 1, new int[] {tokenizer.vocabSize()});
        }
        ConstraintCompiler compiler = new ConstraintCompiler(() -> vocabulary);
        Random random = new Random(7);
        int ended = 0;
        int all = 0;
        List<String> wrong = new ArrayList<>();
        for (String schema : schemas()) {
            Constraint constraint;
            try {
                constraint = Grammars.schema(compiler, schema, SchemaOptions.REQUESTS);
            } catch (GrammarException e) {
                continue;
            }
            JsonSchema validator = validator(schema);
            for (int run = 0; run < runs; run++) {
                String text = sample(constraint, vocabulary, random);
                all++;
                if (text == null) {
                    continue;
                }
                ended++;
                if (!isValid(validator, text)) {
                    wrong.add(text + " of " + schema);
                }
            }
        }
        assertThat(wrong).isEmpty();
        assertThat(ended).as("texts that ended, of " + all).isGreaterThan(all * 97 / 100);
        assertThat(all).isGreaterThan(250 * runs);
    }

    private static List<String> schemas() {
        List<String> all = new ArrayList<>();
        for (JsonNode line : Grammars.lines(Grammars.data("structured/llama_cpp_schemas.jsonl"))) {
            if (!line.get("schema").path("items").isArray() && !line.get("schema").path("prefixItems").isObject()) {
                all.add(line.get("schema").toString());
            }
        }
        for (Path file : Grammars.jsonFiles(Grammars.data("structured/json-schema-test-suite/draft2020-12"))) {
            Grammars.tree(file).forEach(group -> all.add(group.get("schema").toString()));
        }
        for (String format : new String[] {"date", "time", "date-time", "duration", "uuid", "ipv4", "ipv6"}) {
            all.add("{\"type\":\"string\",\"format\":\"" + format + "\"}");
        }
        all.add("""
                {"$defs":{"n":{"type":"object","properties":{"v":{"type":"number","multipleOf":0.25,"minimum":-3,"exclusiveMaximum":9.5},\
                "c":{"type":"array","items":{"$ref":"#/$defs/n"},"maxItems":2}},"required":["v"]}},"$ref":"#/$defs/n"}""");
        all.removeIf(schema -> schema.matches(NOT_COMPARED));
        return all;
    }

    private static JsonSchema validator(String schema) {
        SchemaValidatorsConfig config = SchemaValidatorsConfig.builder().formatAssertionsEnabled(true).build();
        return JsonSchemaFactory.getInstance(SpecVersion.VersionFlag.V202012).getSchema(schema, config);
    }

    private static boolean isValid(JsonSchema validator, String text) {
        try {
            return validator.validate(Grammars.JSON.readTree(text)).isEmpty();
        } catch (JsonProcessingException e) {
            return false;
        }
    }

    /** Null if it did not end in {@link #MAX_TOKENS}, from half of which it is led to the end. */
    private static String sample(Constraint constraint, ByteVocabulary vocabulary, Random random) {
        ConstraintCursor cursor = constraint.begin();
        int end = vocabulary.size() - 1;
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment mask = arena.allocate(ConstraintCursor.maskBytes(vocabulary.size()), 8);
            for (int step = 0; step < MAX_TOKENS; step++) {
                cursor.fill(mask, new int[] {end});
                boolean mayEnd = (mask.getAtIndex(ValueLayout.JAVA_INT, end / 32) >>> end % 32 & 1) != 0;
                assertThat(mayEnd).isEqualTo(cursor.accepts());
                if (mayEnd && (step > MAX_TOKENS / 2 || random.nextInt(8) == 0 || cursor.isComplete())) {
                    return out.toString(StandardCharsets.UTF_8);
                }
                int token = step > MAX_TOKENS / 2 ? closing(cursor, vocabulary) : -1;
                token = token >= 0 ? token : draw(mask, mayEnd, random);
                assertThat(token).as("a dead end after %s", out).isNotNegative();
                assertThat(cursor.advance(token)).as("token %s after %s", token, out).isTrue();
                out.writeBytes(vocabulary.bytes(token));
            }
        }
        return null;
    }

    private static int closing(ConstraintCursor cursor, ByteVocabulary vocabulary) {
        for (char c : "\"}]:,".toCharArray()) {
            int token = vocabulary.single(c);
            if (cursor.allows(token)) {
                return token;
            }
        }
        return -1;
    }

    private static int draw(MemorySegment mask, boolean endAllowed, Random random) {
        long words = mask.byteSize() / 8;
        int count = endAllowed ? -1 : 0;
        for (long w = 0; w < words; w++) {
            count += Long.bitCount(mask.getAtIndex(ValueLayout.JAVA_LONG, w));
        }
        // The end has the last id.
        int wanted = count <= 0 ? -1 : random.nextInt(count);
        for (long w = 0; w < words && wanted >= 0; w++) {
            long word = mask.getAtIndex(ValueLayout.JAVA_LONG, w);
            if (wanted >= Long.bitCount(word)) {
                wanted -= Long.bitCount(word);
                continue;
            }
            for (; wanted > 0; wanted--) {
                word &= word - 1;
            }
            return (int) (w * 64 + Long.numberOfTrailingZeros(word));
        }
        return -1;
    }
}
