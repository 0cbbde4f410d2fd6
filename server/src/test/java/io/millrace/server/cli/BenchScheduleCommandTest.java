package io.millrace.server.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

class BenchScheduleCommandTest {
    @TempDir
    private Path folder;

    private String out;
    private String err;

    private int run(String... flags) {
        List<String> args = new ArrayList<>(List.of("bench", "schedule"));
        args.addAll(List.of(flags));
        StringWriter outText = new StringWriter();
        StringWriter errText = new StringWriter();
        CommandLine line = MillraceCommand.commandLine("bench");
        line.setOut(new PrintWriter(outText, true)).setErr(new PrintWriter(errText, true));
        int code = line.execute(args.toArray(String[]::new));
        out = outText.toString();
        err = errText.toString();
        return code;
    }

    private Path trace() throws Exception {
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 300; i++) {
            lines.append("{\"t_ms\": ").append(i * 10).append(", \"in\": ").append(50 + i % 90).append(", \"out\": ").append(1 + i % 40).append("}\n");
        }
        return Files.writeString(folder.resolve("trace.jsonl"), lines);
    }

    /** Property: one command gives table, curve, picture and figures, and they agree with each other. */
    @Test
    void simulatesATrace() throws Exception {
        Path json = folder.resolve("out.json");
        Path svg = folder.resolve("out.svg");
        assertThat(run("--trace", trace().toString(), "--max-num-seqs", "4", "--key-mix", "20:1", "--goodput", "ttft:500,tpot:50", "--json", json.toString(),
                "--plot", svg.toString())).as(err).isZero();
        assertThat(out).contains("300 requests in 2.99 s", "time to first token (TTFT)", "good requests/s", "key 1", "waiting requests", "\u2588");
        JsonNode figures = new ObjectMapper().readTree(Files.readString(json));
        assertThat(figures.path("completed").asInt()).isEqualTo(300);
        assertThat(figures.path("keys")).hasSize(2);
        assertThat(figures.path("keys").get(0).path("completed").asInt() + figures.path("keys").get(1).path("completed").asInt()).isEqualTo(300);
        assertThat(figures.path("cost").path("source").asText()).contains("published figures");
        assertThat(figures.path("p99_ttft_ms").asDouble()).isGreaterThan(figures.path("median_ttft_ms").asDouble());
        assertThat(Files.size(svg)).isBetween(2_000L, 100_000L);
        assertThat(DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(svg.toFile()).getDocumentElement().getTagName()).isEqualTo("svg");
        String hash = figures.path("schedule_hash").asText();
        run("--trace", trace().toString(), "--max-num-seqs", "4", "--key-mix", "20:1", "--json", json.toString());
        assertThat(new ObjectMapper().readTree(Files.readString(json)).path("schedule_hash").asText()).isEqualTo(hash);
    }

    /** Property: ten times the rate through the same machine makes a queue and worse latencies. */
    @Test
    void rateScaleMakesQueues() throws Exception {
        Path json = folder.resolve("out.json");
        double[] ttft = new double[2];
        for (int i = 0; i < 2; i++) {
            assertThat(run("--trace", trace().toString(), "--max-num-seqs", "2", "--rate-scale", i == 0 ? "0.1" : "10", "--json", json.toString())).as(err).isZero();
            ttft[i] = new ObjectMapper().readTree(Files.readString(json)).path("median_ttft_ms").asDouble();
        }
        assertThat(ttft[1]).isGreaterThan(20 * ttft[0]);
    }

    /** Property: flags that cannot be meant are refused with what is allowed. */
    @Test
    void wrongFlagsAreRefused() throws Exception {
        assertThat(run()).isEqualTo(ExitCodes.USAGE);
        assertThat(err).contains("CLI-002: neither --trace nor --calibrate");
        assertThat(run("--trace", trace().toString(), "--key-mix", "20:0")).isEqualTo(ExitCodes.USAGE);
        assertThat(err).contains("CLI-002: --key-mix '20:0'");
        assertThat(run("--trace", trace().toString(), "--rate-scale", "-1")).isEqualTo(ExitCodes.USAGE);
        assertThat(err).contains("CLI-002: --rate-scale");
        assertThat(run("--trace", trace().toString(), "--cost", folder.resolve("absent").toString())).isNotZero();
    }
}
