package io.millrace.server.endtoend;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.networknt.schema.JsonSchema;
import com.networknt.schema.JsonSchemaFactory;
import com.networknt.schema.SpecVersion;
import io.millrace.server.bench.OpenAiClient;
import java.io.IOException;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Property: with a real model that has never seen JSON, what the server answers is what the request demanded, however it samples and is scheduled. */
class StructuredOutputOverHttpTest {
    private static final String SCHEMA = """
            {"type":"object","properties":{"name":{"type":"string","maxLength":12},"age":{"type":"integer","minimum":0,"maximum":150},
            "kind":{"enum":["cat","dog"]},"tags":{"type":"array","items":{"type":"string","pattern":"^[a-z]{1,5}$"},"maxItems":3}},
            "required":["name","age","kind"],"additionalProperties":false}""";
    private static RealServer server;

    @BeforeAll
    static void start() {
        server = new RealServer(RealServer.data("models/stories260K/hf-fp32"));
    }

    @AfterAll
    static void stop() {
        if (server != null) {
            server.close();
        }
    }

    private static ObjectNode body(String fields) throws IOException {
        ObjectNode body = OpenAiClient.object().put("model", server.generation.model().name()).put("prompt", "Once upon a time").put("max_tokens", 300);
        body.setAll((ObjectNode) RealServer.JSON.readTree(fields));
        return body;
    }

    private static JsonNode choice(RealServer on, ObjectNode body) {
        return on.complete(body).at("/choices/0");
    }

    private static String format(String schema) {
        return "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"strict\":true,\"schema\":" + schema + "}}";
    }

    private static void assertValid(JsonNode choice) throws IOException {
        assertThat(choice.at("/finish_reason").asText()).as(choice.toString()).isEqualTo("stop");
        JsonSchema validator = JsonSchemaFactory.getInstance(SpecVersion.VersionFlag.V202012).getSchema(SCHEMA);
        assertThat(validator.validate(RealServer.JSON.readTree(choice.at("/text").asText()))).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(strings = {"\"temperature\":0", "\"temperature\":1,\"seed\":1", "\"temperature\":2,\"seed\":2", "\"temperature\":1,\"seed\":3,\"logprobs\":3",
        "\"temperature\":1,\"seed\":4,\"min_tokens\":250", "\"temperature\":1,\"seed\":5,\"ignore_eos\":true", "\"temperature\":1,\"seed\":6,\"repetition_penalty\":1.3",
        "\"temperature\":1,\"seed\":7,\"top_p\":0.5,\"logit_bias\":{\"300\":100}"})
    void answersMeetTheSchemaHoweverTheyAreSampled(String sampling) throws IOException {
        assertValid(choice(server, body("{" + format(SCHEMA) + "," + sampling + "}")));
    }

    @Test
    void everyOfSeveralChoicesMeetsTheSchema() throws IOException {
        JsonNode answer = server.complete(body("{" + format(SCHEMA) + ",\"n\":4,\"temperature\":1.5,\"seed\":1}"));
        assertThat(answer.get("choices")).hasSize(4);
        for (JsonNode choice : answer.get("choices")) {
            assertValid(choice);
        }
    }

    @Test
    void aStreamIsTheSameText() throws IOException {
        ObjectNode body = body("{" + format(SCHEMA) + ",\"temperature\":1,\"seed\":9}");
        assertThat(server.stream(body)).isEqualTo(choice(server, body).at("/text").asText());
    }

    @Test
    void differentConstraintsOfOneStepDoNotMix() throws Exception {
        try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            List<Future<String>> answers = IntStream.range(0, 12).mapToObj(i -> threads.submit(() -> choice(server, body("{\"temperature\":1,\"seed\":" + i
                    + (i % 3 == 2 ? ",\"max_tokens\":20" : ",\"structured_outputs\":{\"regex\":\"" + i + "[a-z]{20}" + i + "\"}") + "}")).at("/text").asText())).toList();
            for (int i = 0; i < 12; i++) {
                if (i % 3 != 2) {
                    assertThat(answers.get(i).get()).matches(i + "[a-z]{20}" + i);
                }
            }
        }
    }

    @Test
    void allWaysToAskWork() throws IOException {
        assertThat(choice(server, body("{\"structured_outputs\":{\"choice\":[\"yes\",\"no way\"]}}")).at("/text").asText()).isIn("yes", "no way");
        assertThat(choice(server, body("{\"guided_regex\":\"\\\\d{3}-\\\\d{4}\"}")).at("/text").asText()).matches("\\d{3}-\\d{4}");
        assertThat(choice(server, body("{\"structured_outputs\":{\"grammar\":\"root ::= \\\"<\\\" [a-f]+ \\\">\\\"\"},\"temperature\":1,\"seed\":3,\"max_tokens\":200}"))
                .at("/text").asText()).matches("<[a-f]+>?");
        assertThat(choice(server, body("{\"json_schema\":{\"const\":[1,{\"a\":null}]}}")).at("/text").asText().replaceAll("\\s", "")).isEqualTo("[1,{\"a\":null}]");
        assertThat(choice(server, body("{\"structured_outputs\":{\"json\":\"{\\\"type\\\":\\\"boolean\\\"}\"}}")).at("/text").asText()).isIn("true", "false");
        assertThat(choice(server, body("{\"response_format\":{\"type\":\"json_object\"},\"max_tokens\":40}")).at("/text").asText()).startsWith("{");
    }

    @Test
    void aStopStringAndTheLimitStillEndIt() throws IOException {
        JsonNode stopped = choice(server, body("{" + format(SCHEMA) + ",\"temperature\":0,\"stop\":[\":\"]}"));
        assertThat(stopped.at("/text").asText()).startsWith("{").doesNotContain(":");
        assertThat(choice(server, body("{" + format(SCHEMA) + ",\"max_tokens\":3}")).at("/finish_reason").asText()).isEqualTo("length");
    }

    /** Few blocks: sequences are preempted and recomputed; and steps that overlap, where a constrained sequence sits every other one out. */
    @ParameterizedTest
    @ValueSource(strings = {"num-gpu-blocks-override 40", "async-scheduling true"})
    void textsDoNotDependOnScheduling(String setting) throws Exception {
        String[] flag = setting.split(" ");
        try (RealServer other = new RealServer(RealServer.data("models/stories260K/hf-fp32"), flag[0], flag[1]);
                ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            List<ObjectNode> bodies = new java.util.ArrayList<>();
            for (int i = 0; i < 6; i++) {
                bodies.add(body("{" + (i % 2 == 0 ? format(SCHEMA) : "\"max_tokens\":60") + ",\"temperature\":1,\"seed\":" + i + "}"));
            }
            List<Future<JsonNode>> answers = bodies.stream().map(body -> threads.submit(() -> choice(other, body))).toList();
            for (int i = 0; i < bodies.size(); i++) {
                assertThat(answers.get(i).get().at("/text").asText()).isEqualTo(choice(server, bodies.get(i)).at("/text").asText());
                if (i % 2 == 0) {
                    assertValid(answers.get(i).get());
                }
            }
        }
    }
}
