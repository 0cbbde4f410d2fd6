package io.millrace.server.endtoend;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.networknt.schema.JsonSchemaFactory;
import com.networknt.schema.SpecVersion;
import io.millrace.server.bench.OpenAiClient;
import java.io.IOException;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Property: a model that knows nothing of tools calls one where it must, with arguments of that tool's schema, whatever it samples. */
class ForcedCallsOverHttpTest {
    private static final Map<String, String> PARAMETERS = Map.of(
            "weather", "{\"$ref\":\"#/$defs/w\",\"$defs\":{\"w\":{\"type\":\"object\",\"properties\":{\"city\":{\"enum\":[\"Oslo\",\"Paris\"]},"
                    + "\"days\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":3}},\"required\":[\"city\",\"days\"],\"additionalProperties\":false}}}",
            "lamp", "{\"type\":\"object\",\"properties\":{\"on\":{\"$ref\":\"#/definitions/b\"}},\"required\":[\"on\"],\"additionalProperties\":false,"
                    + "\"definitions\":{\"b\":{\"type\":\"boolean\"}}}",
            "stop", "{}");
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
        ObjectNode body = OpenAiClient.object().put("max_tokens", 200).put("temperature", 1);
        body.putArray("messages").addObject().put("role", "user").put("content", "Tell me about a dog.");
        for (Map.Entry<String, String> tool : PARAMETERS.entrySet()) {
            ObjectNode function = body.withArray("tools").addObject().put("type", "function").putObject("function").put("name", tool.getKey());
            function.set("parameters", RealServer.JSON.readTree(tool.getValue()));
        }
        body.setAll((ObjectNode) RealServer.JSON.readTree("{" + fields + "}"));
        return body;
    }

    private static JsonNode choice(ObjectNode body) throws IOException {
        return server.client.post("/v1/chat/completions", body).at("/choices/0");
    }

    /** @return the tool's name */
    private static String assertValidCall(JsonNode call) throws IOException {
        String name = call.at("/function/name").textValue();
        assertThat(PARAMETERS).containsKey(name);
        JsonNode arguments = RealServer.JSON.readTree(call.at("/function/arguments").textValue());
        assertThat(JsonSchemaFactory.getInstance(SpecVersion.VersionFlag.V202012).getSchema(PARAMETERS.get(name)).validate(arguments)).isEmpty();
        return name;
    }

    @Test
    void requiredMeansOneCallOfAnyTool() throws IOException {
        Set<String> called = new HashSet<>();
        for (int seed = 0; seed < 12; seed++) {
            JsonNode choice = choice(body("\"tool_choice\":\"required\",\"seed\":" + seed));
            assertThat(choice.get("finish_reason").textValue()).isEqualTo("tool_calls");
            assertThat(choice.at("/message/content").isNull()).isTrue();
            assertThat(choice.at("/message/tool_calls")).hasSize(1);
            called.add(assertValidCall(choice.at("/message/tool_calls/0")));
        }
        assertThat(called).as("no tool is left out of the choice").hasSizeGreaterThan(1);
    }

    @Test
    void aNamedFunctionIsTheOneThatIsCalled() throws IOException {
        for (String name : PARAMETERS.keySet()) {
            JsonNode calls = choice(body("\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"" + name + "\"}},\"seed\":3")).at("/message/tool_calls");
            assertThat(calls).hasSize(1);
            assertThat(assertValidCall(calls.get(0))).isEqualTo(name);
        }
    }

    @Test
    void severalWhereThatIsAskedFor() throws IOException {
        JsonNode choice = choice(body("\"tool_choice\":\"required\",\"parallel_tool_calls\":true,\"seed\":1,\"max_tokens\":400"));
        assertThat(choice.at("/message/tool_calls")).isNotEmpty();
        for (JsonNode call : choice.at("/message/tool_calls")) {
            assertValidCall(call);
        }
    }

    @Test
    void halfACallIsNothing() throws IOException {
        for (int tokens : new int[] {1, 5, 20}) {
            JsonNode choice = choice(body("\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"weather\"}},\"max_tokens\":" + tokens));
            assertThat(choice.get("finish_reason").textValue()).isEqualTo("length");
            assertThat(choice.get("message").has("tool_calls")).isFalse();
            assertThat(choice.at("/message/content").asText("")).isEmpty();
        }
    }

    @Test
    void otherProtocolsDemandCallsToo() throws IOException {
        ObjectNode messages = (ObjectNode) RealServer.JSON.readTree("{\"max_tokens\":200,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
                + "\"tools\":[{\"name\":\"lamp\",\"input_schema\":" + PARAMETERS.get("lamp") + "}],\"tool_choice\":{\"type\":\"any\"}}");
        JsonNode message = server.client.post("/v1/messages", messages);
        assertThat(message.get("stop_reason").textValue()).isEqualTo("tool_use");
        assertThat(message.at("/content/0/input/on").isBoolean()).isTrue();
        ObjectNode formatted = (ObjectNode) RealServer.JSON.readTree("{\"max_tokens\":200,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
                + "\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"boolean\"}}}}");
        assertThat(server.client.post("/v1/messages", formatted).at("/content/0/text").textValue()).isIn("true", "false");
        ObjectNode response = (ObjectNode) RealServer.JSON.readTree("{\"max_output_tokens\":200,\"input\":\"x\",\"tools\":[{\"type\":\"function\","
                + "\"name\":\"lamp\",\"parameters\":" + PARAMETERS.get("lamp") + "}],\"tool_choice\":{\"type\":\"function\",\"name\":\"lamp\"}}");
        assertThat(server.client.post("/v1/responses", response).at("/output/0/name").textValue()).isEqualTo("lamp");
    }
}
