package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.networknt.schema.JsonSchema;
import com.networknt.schema.JsonSchemaFactory;
import com.networknt.schema.SpecVersion;
import com.networknt.schema.ValidationMessage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Semaphore;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Guards that every answer, every chunk of a stream and every error is what the official description of the protocol says. */
class OfficialSchemaTest {
    private static final String SAY = "<think>Hm.</think>Well.<tool_call>{\\\"name\\\":\\\"f\\\",\\\"arguments\\\":{\\\"a\\\":1}}</tool_call>";
    private static final Map<String, JsonSchema> SCHEMAS = new ConcurrentHashMap<>();
    private static JsonNode description;
    private static TestServer server;

    @BeforeAll
    static void start() throws IOException {
        Path file = Path.of(System.getProperty("millrace.data", "data")).resolveSibling("clients").resolve("openai-schemas.json");
        Assumptions.assumeTrue(Files.exists(file), () -> "no test data at " + file + "; set -Dmillrace.data");
        description = TestServer.json(Files.readString(file));
        allowWhatTheOfficialServerSends();
        server = new TestServer(engine -> engine.nextToken(new EchoModel()), config -> config.toolCallParser("hermes").reasoningParser("think"), 64, new Semaphore(1 << 30));
    }

    @AfterAll
    static void stop() {
        if (server != null) {
            server.close();
        }
    }

    /**
     * The description of completions is that of whole answers. In chunks the official server has null where there is no reason or usage yet, as
     * its documentation says of {@code stream_options}, and for the first token of an echoed prompt, which has no probability.
     */
    private static void allowWhatTheOfficialServerSends() {
        JsonNode completion = description.at("/$defs/CreateCompletionResponse/properties");
        orNull(completion, "usage");
        orNull(description.at("/$defs/CreateChatCompletionStreamResponse/properties"), "usage");
        JsonNode choice = completion.at("/choices/items/properties");
        orNull(choice, "finish_reason");
        JsonNode logprobs = choice.path("logprobs").has("anyOf") ? choice.at("/logprobs/anyOf/0/properties") : choice.at("/logprobs/properties");
        orNull(logprobs.path("token_logprobs"), "items");
        orNull(logprobs.path("top_logprobs"), "items");
    }

    private static void orNull(JsonNode parent, String name) {
        ObjectNode object = (ObjectNode) parent;
        ObjectNode either = object.objectNode();
        either.putArray("anyOf").add(object.get(name)).addObject().put("type", "null");
        object.set(name, either);
    }

    private static void assertValid(String schema, JsonNode value) {
        JsonSchema official = SCHEMAS.computeIfAbsent(schema, name -> {
            ObjectNode root = description.deepCopy();
            root.remove("roots");
            root.put("$ref", "#/$defs/" + name);
            return JsonSchemaFactory.getInstance(SpecVersion.VersionFlag.V202012).getSchema(root);
        });
        assertThat(official.validate(value)).as("%s: %s", schema, value).extracting(ValidationMessage::getMessage).isEmpty();
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', textBlock = """
            plain | 'max_tokens':4
            two choices | 'max_tokens':4,'n':2
            scores | 'logprobs':true,'top_logprobs':2
            tools | 'tools':[{'type':'function','function':{'name':'f'}}]
            tools and scores | 'tools':[{'type':'function','function':{'name':'f'}}],'logprobs':true
            usage | 'stream_options':{'include_usage':true}
            stop | 'stop':'W'
            """)
    void chat(String what, String fields) {
        String body = "{'model':'tiny','messages':[{'role':'user','content':'" + SAY + "'}]," + fields;
        if (!fields.contains("stream_options")) {
            assertValid("CreateChatCompletionResponse", server.ok("/v1/chat/completions", body + "}"));
        }
        List<JsonNode> chunks = server.stream("/v1/chat/completions", body + ",'stream':true}");
        assertThat(chunks).isNotEmpty().allSatisfy(chunk -> assertValid("CreateChatCompletionStreamResponse", chunk));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', textBlock = """
            plain | 'max_tokens':4
            two choices | 'max_tokens':4,'n':2
            scores | 'logprobs':2,'max_tokens':4
            echo and scores | 'logprobs':2,'max_tokens':4,'echo':true
            usage | 'max_tokens':4,'stream_options':{'include_usage':true}
            """)
    void completions(String what, String fields) {
        String body = "{'model':'tiny','prompt':'user: Hello there'," + fields;
        if (!fields.contains("stream_options")) {
            assertValid("CreateCompletionResponse", server.ok("/v1/completions", body + "}"));
        }
        List<JsonNode> chunks = server.stream("/v1/completions", body + ",'stream':true}");
        assertThat(chunks).isNotEmpty().allSatisfy(chunk -> assertValid("CreateCompletionResponse", chunk));
    }

    @ParameterizedTest
    @CsvSource({"/v1/models, ListModelsResponse", "/v1/models/tiny, Model", "/v1/models/none, ErrorResponse", "/v1/nothing, ErrorResponse",
        "/v1/completions, ErrorResponse"})
    void others(String path, String schema) {
        assertValid(schema, TestServer.json(server.get(path).body()));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', textBlock = """
            {
            []
            {'messages':5}
            {'messages':[{'role':'user','content':'x'}],'temperature':-1}
            """)
    void errors(String body) {
        assertValid("ErrorResponse", TestServer.json(server.post("/v1/chat/completions", body.replace('\'', '"')).body()));
    }
}
