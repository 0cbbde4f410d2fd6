package io.millrace.server.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.millrace.server.config.Setting;
import io.millrace.server.config.Settings;
import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

class CommandLineTest {
    private final StringWriter out = new StringWriter();
    private final StringWriter err = new StringWriter();

    private int run(String... args) {
        CommandLine line = MillraceCommand.commandLine();
        wire(line);
        return line.execute(args);
    }

    private void wire(CommandLine line) {
        line.setOut(new PrintWriter(out, true)).setErr(new PrintWriter(err, true)).setColorScheme(CommandLine.Help.defaultColorScheme(CommandLine.Help.Ansi.OFF));
        line.getSubcommands().values().forEach(this::wire);
    }

    /** Property: the help of serve names every setting with its default. */
    @Test
    void helpNamesEverySetting() {
        assertThat(run("serve", "--help")).isEqualTo(ExitCodes.OK);
        String help = out.toString().replaceAll("\\s+", " ");
        for (Setting<?> setting : Settings.ALL) {
            assertThat(help).contains(setting.kind() == Setting.Kind.SWITCH ? "--[no-]" + setting.key() : setting.flag());
            if (!setting.defaultText().isEmpty()) {
                assertThat(help).contains("(default: " + setting.defaultText() + ")");
            }
        }
        assertThat(help).contains("--config", "Model:", "Memory and batching:", "Server:").doesNotContain("train-start-up");
    }

    @ParameterizedTest
    @ValueSource(strings = {"run", "bench latency", "bench throughput", "bench perplexity", "bench serve", "bench schedule", "bench", "info"})
    void everyCommandHasHelp(String command) {
        String[] args = (command + " --help").split(" ");
        assertThat(run(args)).isEqualTo(ExitCodes.OK);
        assertThat(out.toString()).contains("Usage: ./millrace " + command.split(" ")[0]).doesNotContain("${");
        assertThat(err.toString()).isEmpty();
    }

    /** Property: a mistake costs one clear line, exit code 2 and no stack. */
    @Test
    void mistakes() {
        assertThat(run("serve", "--prot", "8000")).isEqualTo(ExitCodes.USAGE);
        assertThat(err.toString()).contains("CLI-001", "--prot", "did you mean --port?", "./millrace serve --help").doesNotContain("\tat ");
        assertThat(run("serve", "--port", "none", "--threads", "many", "--quantization", "awq")).isEqualTo(ExitCodes.USAGE);
        assertThat(err.toString()).contains("--port", "--threads", "CLI-003").doesNotContain("\tat ");
        assertThat(run("sreve")).isEqualTo(ExitCodes.USAGE);
        assertThat(run()).isEqualTo(ExitCodes.USAGE);
        assertThat(err.toString()).contains("Commands:");
    }

    /** Property: flags that are none, lack a value, have a wrong one or contradict each other, and a model that is not there, are told in one round. */
    @Test
    void allMistakesAtOnce() {
        assertThat(run("serve", "--prot", "8000", "--max-num-seqs", "64", "--max-num-batched-tokens=32", "--thread", "2", "--block-size", "12", "-tp", "2",
                "/nowhere", "--no-port", "--scheduling-policy", "fair", "--max-num-seqs", "100000000", "--seed")).isEqualTo(ExitCodes.USAGE);
        assertThat(err.toString().lines().filter(line -> line.matches("CLI-\\d{3}: .*"))).satisfiesExactlyInAnyOrder(
                p -> assertThat(p).contains("CLI-001", "--prot is no flag", "did you mean --port?"),
                p -> assertThat(p).contains("CLI-001", "--thread is no flag", "did you mean --threads?"),
                p -> assertThat(p).contains("CLI-001", "--no-port"),
                p -> assertThat(p).contains("CLI-002", "--seed needs a value"),
                p -> assertThat(p).contains("CLI-002", "--block-size", "power of two"),
                p -> assertThat(p).contains("CLI-002", "--max-num-seqs", "give it once"),
                p -> assertThat(p).contains("CLI-003", "--tensor-parallel-size"),
                p -> assertThat(p).contains("CLI-005", "--scheduling-policy fair"),
                p -> assertThat(p).contains("CLI-006", "/nowhere"));
        err.getBuffer().setLength(0);
        assertThat(run("serve", "--max-num-seqs", "64", "--max-num-batched-tokens", "32", "--port", "x")).isEqualTo(ExitCodes.USAGE);
        assertThat(err.toString()).contains("CLI-005: --max-num-batched-tokens 32", "CLI-002: --port");
        err.getBuffer().setLength(0);
        assertThat(run("bench", "latency", "--nonsense-a", "--inptu-len", "3")).isEqualTo(ExitCodes.USAGE);
        assertThat(err.toString()).contains("'--nonsense-a'", "'--inptu-len'");
    }

    /** Property: switches have a form that turns them off, and flags of other servers are refused rather than ignored. */
    @Test
    void switches() {
        assertThat(run("serve", "--no-enable-chunked-prefill", "--model", "/nowhere")).isEqualTo(ExitCodes.USAGE);
        assertThat(err.toString()).contains("CLI-003", "--enable-chunked-prefill", "'false'");
        err.getBuffer().setLength(0);
        assertThat(run("serve", "--no-enable-prefix-caching", "--disable-log-stats", "-tp", "1", "/nowhere")).isEqualTo(ExitCodes.USAGE);
        assertThat(err.toString()).contains("CLI-006").doesNotContain("CLI-003");
    }

    /** Property: a folder that is no model ends with the model's exit code and one line. */
    @Test
    void folderWithoutModel(@org.junit.jupiter.api.io.TempDir java.nio.file.Path folder) {
        assertThat(run("serve", "--port", "0", folder.toString())).isEqualTo(ExitCodes.MODEL);
        assertThat(err.toString().lines()).hasSize(1);
        assertThat(err.toString()).contains("config.json");
    }

    /** Property: a taken port is refused before the model is read, with its own exit code. */
    @Test
    void takenPort(@org.junit.jupiter.api.io.TempDir java.nio.file.Path folder) throws java.io.IOException {
        try (var taken = new java.net.ServerSocket(0, 1, java.net.InetAddress.getByName("127.0.0.1"))) {
            assertThat(run("serve", "--port", String.valueOf(taken.getLocalPort()), folder.toString())).isEqualTo(ExitCodes.ADDRESS);
        }
        assertThat(err.toString()).contains("SRV-002", "--port");
    }

    /** Property: no prompt at all is a mistake, not a story about nothing. */
    @Test
    void emptyInputIsNoPrompt() {
        java.io.InputStream before = System.in;
        System.setIn(java.io.InputStream.nullInputStream());
        try {
            assertThat(run("run")).isEqualTo(ExitCodes.USAGE);
        } finally {
            System.setIn(before);
        }
        assertThat(err.toString()).contains("CLI-007");
    }

    /** Property: words and spellings of other tools are understood; values are left alone. */
    @Test
    void otherSpellings() {
        assertThat(MillraceCommand.plain("version")).containsExactly("--version");
        assertThat(MillraceCommand.plain("help", "serve")).containsExactly("serve", "--help");
        assertThat(MillraceCommand.plain("help")).containsExactly("--help");
        assertThat(MillraceCommand.plain("serve", "--max_num_seqs", "4", "--served_model_name=a_b", "my_model"))
                .containsExactly("serve", "--max-num-seqs", "4", "--served-model-name=a_b", "my_model");
    }

    @Test
    void addressWithoutScheme() {
        assertThat(new BenchServeCommand.BaseUrl().convert("127.0.0.1:8471")).hasToString("http://127.0.0.1:8471");
        assertThat(new BenchServeCommand.BaseUrl().convert("https://example.org/v1")).hasToString("https://example.org/v1");
    }

    @Test
    void infoAsJson() throws java.io.IOException {
        assertThat(run("info", "--json")).isEqualTo(ExitCodes.OK);
        JsonNode facts = new ObjectMapper().readTree(out.toString());
        assertThat(facts.path("cores").asInt()).isPositive();
        assertThat(facts.path("memory").asLong()).isPositive();
        assertThat(facts.path("backend").asText()).isNotBlank();
    }
}
