package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Semaphore;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Guards Anthropic's protocol: shapes and events of its documentation, tools and thoughts, errors in its form, its header for keys. */
class MessagesTest {
    private static final String PATH = "/v1/messages";
    private static final String TOOLS = "'tools':[{'name':'f','input_schema':{'type':'object'}}]";
    private static final String SAY = "<think>Hm.</think>Well.<tool_call>{\\\"name\\\":\\\"f\\\",\\\"arguments\\\":{\\\"a\\\":1}}</tool_call>";
    private static TestServer server;

    @BeforeAll
    static void start() {
        server = new TestServer(engine -> engine.nextToken(new EchoModel()), config -> config.toolCallParser("hermes").reasoningParser("think").apiKeys(List.of("secret")), 64, new Semaphore(1 << 30));
    }

    @AfterAll
    static void stop() {
        server.close();
    }

    private static HttpResponse<String> post(String path, String body) {
        return server.send(server.request(path).header("Content-Type", "application/json").header("x-api-key", "secret")
                .header("anthropic-version", "2023-06-01").POST(HttpRequest.BodyPublishers.ofString(body.replace('\'', '"'))).build());
    }

    private static JsonNode ok(String body) {
        HttpResponse<String> response = post(PATH, body);
        assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
        return TestServer.json(response.body());
    }

    private static String say(String text, String more) {
        return "{'model':'tiny','max_tokens':120,'messages':[{'role':'user','content':'" + text + "'}]" + more + "}";
    }

    /** Property: an answer has the documented members, and says why it ended and what it used. */
    @Test
    void aMessage() {
        JsonNode message = ok(say("Hello.", ""));
        assertThat(message.get("id").textValue()).startsWith("msg_");
        assertThat(message.get("type").textValue()).isEqualTo("message");
        assertThat(message.get("role").textValue()).isEqualTo("assistant");
        assertThat(message.get("content").toString()).isEqualTo("[{\"type\":\"text\",\"text\":\"Hello.\"}]");
        assertThat(message.get("stop_reason").textValue()).isEqualTo("end_turn");
        assertThat(message.get("stop_sequence").isNull()).isTrue();
        assertThat(message.at("/usage/input_tokens").intValue() + message.at("/usage/cache_read_input_tokens").intValue())
                .isEqualTo("user: Hello.\nassistant:".length());
        assertThat(message.at("/usage/output_tokens").intValue()).isEqualTo(7);
    }

    /** Property: each way to end has its own reason. */
    @Test
    void reasons() {
        assertThat(ok(say("Hello.", "").replace("120", "3")).get("stop_reason").textValue()).isEqualTo("max_tokens");
        JsonNode stopped = ok(say("Hello.", ",'stop_sequences':['lo']"));
        assertThat(stopped.get("stop_reason").textValue()).isEqualTo("stop_sequence");
        assertThat(stopped.get("stop_sequence").textValue()).isEqualTo("lo");
        assertThat(stopped.at("/content/0/text").textValue()).isEqualTo("Hel");
    }

    /** Property: thoughts, text and calls are blocks, in their order; a call's input is an object. */
    @Test
    void blocks() {
        JsonNode message = ok(say(SAY, "," + TOOLS));
        assertThat(message.get("content")).hasSize(3);
        assertThat(message.at("/content/0/thinking").textValue()).isEqualTo("Hm.");
        assertThat(message.at("/content/1/text").textValue()).isEqualTo("Well.");
        assertThat(message.at("/content/2/type").textValue()).isEqualTo("tool_use");
        assertThat(message.at("/content/2/id").textValue()).startsWith("toolu_");
        assertThat(message.at("/content/2/input/a").intValue()).isEqualTo(1);
        assertThat(message.get("stop_reason").textValue()).isEqualTo("tool_use");
    }

    /** Property: a stream has the documented events in the documented order, and put together they are the whole message. */
    @Test
    void aStream() {
        HttpResponse<String> response = post(PATH, say(SAY, "," + TOOLS + ",'stream':true"));
        assertThat(response.headers().firstValue("content-type").orElse("")).startsWith("text/event-stream");
        List<String> order = new ArrayList<>();
        StringBuilder text = new StringBuilder();
        for (String event : response.body().split("\n\n")) {
            String[] lines = event.split("\n");
            JsonNode data = TestServer.json(lines[1].substring("data: ".length()));
            assertThat(lines[0]).isEqualTo("event: " + data.get("type").textValue());
            String type = data.get("type").textValue();
            if (!type.equals("content_block_delta")) {
                order.add(type + data.at("/content_block/type").asText(""));
            }
            if (data.has("index")) {
                assertThat(data.get("index").intValue()).isEqualTo((int) order.stream().filter(t -> t.startsWith("content_block_start")).count() - 1);
            }
            for (String field : List.of("thinking", "text", "partial_json")) {
                text.append(data.at("/delta/" + field).asText(""));
            }
        }
        assertThat(order).containsExactly("message_start", "content_block_startthinking", "content_block_stop", "content_block_starttext",
                "content_block_stop", "content_block_starttool_use", "content_block_stop", "message_delta", "message_stop");
        assertThat(text.toString()).isEqualTo("Hm.Well.{\"a\":1}");
        assertThat(response.body()).contains("\"stop_reason\":\"tool_use\"");
    }

    /** Property: system, blocks, calls and results of earlier turns reach the template as the messages they mean. */
    @Test
    void aConversation() {
        HttpResponse<String> response = post(PATH + "/count_tokens", "{'model':'tiny','system':[{'type':'text','text':'S'}],'messages':["
                + "{'role':'user','content':[{'type':'text','text':'A'},{'type':'text','text':'B'}]},"
                + "{'role':'assistant','content':[{'type':'thinking','thinking':'t','signature':''},{'type':'text','text':'C'},"
                + "{'type':'tool_use','id':'t1','name':'f','input':{'a':1}}]},"
                + "{'role':'user','content':[{'type':'tool_result','tool_use_id':'t1','content':[{'type':'text','text':'R'}]},{'type':'text','text':'D'}]}]}");
        assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
        assertThat(TestServer.json(response.body()).get("input_tokens").intValue())
                .isEqualTo("system: S\nuser: A\nB\nassistant: C\ntool: R\nuser: D\nassistant:".length());
    }

    /** Property: a last message of the assistant is the beginning of the answer. */
    @Test
    void theAnswerGoesOnFromItsBeginning() {
        HttpResponse<String> response = post(PATH + "/count_tokens", "{'messages':[{'role':'user','content':'A'},{'role':'assistant','content':'B'}]}");
        assertThat(TestServer.json(response.body()).get("input_tokens").intValue()).isEqualTo("user: A\nassistant: B".length());
    }

    /** Property: errors come in the protocol's form and name the field. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', textBlock = """
            400 | invalid_request_error | max_tokens | {'messages':[{'role':'user','content':'x'}]}
            400 | invalid_request_error | messages | {'max_tokens':5}
            400 | invalid_request_error | messages[0].role | {'max_tokens':5,'messages':[{'role':'system','content':'x'}]}
            400 | invalid_request_error | messages[0].content[0].type | {'max_tokens':5,'messages':[{'role':'user','content':[{'type':'image'}]}]}
            400 | invalid_request_error | tools[0].type | {'max_tokens':5,'messages':[{'role':'user','content':'x'}],'tools':[{'type':'web_search_20250305','name':'w'}]}
            400 | invalid_request_error | temperature | {'max_tokens':5,'messages':[{'role':'user','content':'x'}],'temperature':-1}
            400 | invalid_request_error | output_config.format.schema | {'max_tokens':5,'messages':[{'role':'user','content':'x'}],'output_config':{'format':{'type':'json_schema'}}}
            404 | not_found_error | nope | {'model':'nope','max_tokens':5,'messages':[{'role':'user','content':'x'}]}
            """)
    void errors(int status, String type, String mention, String body) {
        HttpResponse<String> response = post(PATH, body);
        assertThat(response.statusCode()).isEqualTo(status);
        JsonNode error = TestServer.json(response.body());
        assertThat(error.get("type").textValue()).isEqualTo("error");
        assertThat(error.at("/error/type").textValue()).isEqualTo(type);
        assertThat(error.at("/error/message").textValue()).contains(mention);
    }

    /** Property: the protocol's own header carries the key, and without one nobody is served. */
    @Test
    void keys() {
        HttpResponse<String> response = server.post(PATH, say("x", "").replace('\'', '"'));
        assertThat(response.statusCode()).isEqualTo(401);
        assertThat(TestServer.json(response.body()).at("/error/type").textValue()).isEqualTo("authentication_error");
    }
}
