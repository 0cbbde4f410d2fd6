package io.millrace.engine.grammar;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.engine.grammar.json.SchemaOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Property: grammars and schemas of llama.cpp's own tests accept, reject and are refused as recorded there. */
class LlamaCppGrammarTest {
    private final ConstraintCompiler compiler = Grammars.overBytes();

    private Constraint compile(JsonNode line) {
        return line.has("grammar") ? compiler.compile(new ConstraintSpec.Grammar(line.get("grammar").asText()))
                : Grammars.schema(compiler, line.get("schema").toString(), SchemaOptions.LLAMA_CPP);
    }

    @Test
    void grammarsAndSchemasAcceptAndRejectAsRecorded() {
        for (JsonNode line : Grammars.lines(Grammars.data("structured/llama_cpp_grammar.jsonl"))) {
            if (line.get("kind").asText().equals("gbnf_invalid")) {
                assertThatThrownBy(() -> compile(line)).as(line.toString()).isInstanceOf(GrammarException.class);
                continue;
            }
            Constraint constraint = compile(line);
            line.get("accept").forEach(text -> assertThat(Grammars.accepts(constraint, text.asText())).as("%s of %s", text, line).isTrue());
            line.get("reject").forEach(text -> assertThat(Grammars.accepts(constraint, text.asText())).as("%s of %s", text, line).isFalse());
        }
    }

    @Test
    void itsConvertersSchemasCompileOrAreRefusedAsThere() {
        for (JsonNode line : Grammars.lines(Grammars.data("structured/llama_cpp_schemas.jsonl"))) {
            if (line.get("llama_cpp_converts").asBoolean()) {
                assertThat(compile(line)).isNotNull();
            } else {
                assertThatThrownBy(() -> compile(line)).isInstanceOf(GrammarException.class);
            }
        }
    }

    @Test
    void itsExampleGrammarsCompile() throws IOException {
        try (Stream<Path> files = Files.list(Grammars.data("structured/gbnf"))) {
            List<Path> all = files.toList();
            assertThat(all).hasSize(8);
            for (Path file : all) {
                assertThat(compiler.compile(new ConstraintSpec.Grammar(Files.readString(file)))).isNotNull();
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"root ::= \"a\" | ", "root ::= [a", "root ::= \"a", "root ::= (\"a\"", "root ::= \"a\"{3,2}", "root := \"a\"", "", "root ::= root",
        "root ::= \"a\" root", "root ::= \"\\q\"", "root ::= \"a\"\nroot ::= \"b\"", "root ::= a*\na ::= b\nb ::= a"})
    void malformedOrEmptyGrammarsAreRefusedOrTakenLiterally(String grammar) {
        if (grammar.endsWith("| ")) {
            assertThat(Grammars.accepts(compiler.compile(new ConstraintSpec.Grammar(grammar)), "")).isTrue();
        } else {
            assertThatThrownBy(() -> compiler.compile(new ConstraintSpec.Grammar(grammar))).isInstanceOf(GrammarException.class);
        }
    }

    @Test
    void alternativesMayGoOnInTheNextLine() {
        Constraint constraint = compiler.compile(new ConstraintSpec.Grammar("root ::= \"select \" column (\", \" column)*\n  | \"count\"\ncolumn ::= \"a\" | \"b\"  # two"));
        assertThat(Grammars.accepts(constraint, "select a, b")).isTrue();
        assertThat(Grammars.accepts(constraint, "count")).isTrue();
        assertThat(Grammars.accepts(constraint, "select c")).isFalse();
    }
}
