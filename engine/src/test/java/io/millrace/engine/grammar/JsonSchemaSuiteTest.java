package io.millrace.engine.grammar;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.engine.grammar.json.SchemaOptions;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/**
 * Property: of every schema of JSON-Schema-Test-Suite that is not refused, the masks let each valid instance through token by token and no
 * invalid one; and what is refused is refused for a keyword that is known not to be supported. Formats are annotations there.
 */
class JsonSchemaSuiteTest {
    /** Why schemas of the suite may be refused; anything else is a defect. */
    private static final List<String> REASONS = List.of("is not supported", "not in the schema", "`oneOf` is supported where", "is supported for",
            "not JSON Schema", "is none of JSON Schema's own dialects", "multiples of 0.123456789");

    @Test
    void draft2020() {
        run("draft2020-12", SchemaOptions.STANDARD, 280);
    }

    @Test
    void draft7() {
        run("draft7", SchemaOptions.STANDARD.withDraft7(true), 250);
    }

    private static void run(String draft, SchemaOptions options, int atLeast) {
        Path folder = Grammars.data("structured/json-schema-test-suite/" + draft);
        ConstraintCompiler compiler = Grammars.overBytes();
        List<String> wrong = new ArrayList<>();
        Set<String> refusals = new TreeSet<>();
        int supported = 0;
        for (Path file : Grammars.jsonFiles(folder)) {
            boolean formats = file.toString().contains("format");
            for (JsonNode group : Grammars.tree(file)) {
                Constraint constraint = null;
                try {
                    constraint = Grammars.schema(compiler, group.get("schema").toString(), options);
                } catch (GrammarException e) {
                    assertThat(e.where()).as(e.getMessage()).startsWith("#");
                    if (!e.getMessage().contains("no value meets")) {
                        refusals.add(e.getMessage());
                        continue;
                    }
                }
                supported++;
                for (JsonNode test : group.get("tests")) {
                    JsonNode data = test.get("data");
                    String text = data.isNumber() ? data.decimalValue().toPlainString() : data.toString();
                    boolean accepted = constraint != null && Grammars.accepts(constraint, text);
                    if (!formats && accepted != test.get("valid").asBoolean()) {
                        wrong.add((accepted ? "accepts " : "refuses ") + text + " of " + group.get("schema") + " (" + file.getFileName() + ")");
                    }
                }
            }
        }
        assertThat(wrong).isEmpty();
        assertThat(refusals).allSatisfy(refusal -> assertThat(REASONS).anyMatch(refusal::contains));
        assertThat(supported).as("schemas of the suite that are supported").isGreaterThanOrEqualTo(atLeast);
    }
}
