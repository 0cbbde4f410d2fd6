package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Semaphore;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Guards {@code /v1/responses}: the response object, its items, the events of a stream, earlier turns as input, what needs state refused. */
class ResponsesTest {
    private static final String PATH = "/v1/responses";
    private static final String TOOLS = "'tools':[{'type':'function','name':'f','parameters':{'type':'object'}}]";
    private static final String SAY = "<think>Hm.</think>Well.<tool_call>{\\\"name\\\":\\\"f\\\",\\\"arguments\\\":{\\\"a\\\":1}}</tool_call>";
    private static TestServer server;

    @BeforeAll
    static void start() {
        server = new TestServer(engine -> engine.nextToken(new EchoModel()), config -> config.toolCallParser("hermes").reasoningParser("think"), 64, new Semaphore(1 << 30));
    }

    @AfterAll
    static void stop() {
        server.close();
    }

    /** Property: the object has the official members, repeats the request's settings and says what was used. */
    @Test
    void aResponse() {
        JsonNode response = server.ok(PATH, "{'model':'tiny','input':'Hello.','temperature':0,'metadata':{'k':'v'}}");
        assertThat(response.get("id").textValue()).startsWith("resp_");
        assertThat(response.get("object").textValue()).isEqualTo("response");
        assertThat(response.get("status").textValue()).isEqualTo("completed");
        assertThat(response.at("/output/0/type").textValue()).isEqualTo("message");
        assertThat(response.at("/output/0/role").textValue()).isEqualTo("assistant");
        assertThat(response.at("/output/0/content/0/type").textValue()).isEqualTo("output_text");
        assertThat(response.at("/output/0/content/0/text").textValue()).isEqualTo("Hello.");
        assertThat(response.at("/metadata/k").textValue()).isEqualTo("v");
        assertThat(response.at("/temperature").intValue()).isZero();
        assertThat(response.at("/usage/input_tokens").intValue()).isEqualTo("user: Hello.\nassistant:".length());
        assertThat(response.at("/usage/output_tokens").intValue()).isEqualTo(7);
        assertThat(response.at("/usage/total_tokens").intValue()).isEqualTo(response.at("/usage/input_tokens").intValue() + 7);
    }

    /** Property: an answer cut off says so, and so does its last item. */
    @Test
    void incomplete() {
        JsonNode response = server.ok(PATH, "{'input':'Hello.','max_output_tokens':3}");
        assertThat(response.get("status").textValue()).isEqualTo("incomplete");
        assertThat(response.at("/incomplete_details/reason").textValue()).isEqualTo("max_output_tokens");
        assertThat(response.at("/output/0/status").textValue()).isEqualTo("incomplete");
        assertThat(response.at("/output/0/content/0/text").textValue()).isEqualTo("Hel");
    }

    /** Property: thoughts, text and calls are items, in their order. */
    @Test
    void items() {
        JsonNode output = server.ok(PATH, "{'input':'" + SAY + "'," + TOOLS + "}").get("output");
        assertThat(output).hasSize(3);
        assertThat(output.at("/0/type").textValue()).isEqualTo("reasoning");
        assertThat(output.at("/0/content/0/text").textValue()).isEqualTo("Hm.");
        assertThat(output.at("/1/content/0/text").textValue()).isEqualTo("Well.");
        assertThat(output.at("/2/type").textValue()).isEqualTo("function_call");
        assertThat(output.at("/2/name").textValue()).isEqualTo("f");
        assertThat(output.at("/2/arguments").textValue()).isEqualTo("{\"a\":1}");
        assertThat(output.at("/2/call_id").textValue()).startsWith("call_");
        assertThat(output.findValuesAsText("status")).containsOnly("completed");
    }

    /** Property: the events are numbered without gaps, each item is added and done once, its deltas make its text, and the last has the whole response. */
    @Test
    void aStream() {
        HttpResponse<String> response = server.post(PATH, ("{'input':'" + SAY + "'," + TOOLS + ",'stream':true}").replace('\'', '"'));
        List<String> order = new ArrayList<>();
        StringBuilder text = new StringBuilder();
        JsonNode last = null;
        int number = 0;
        for (String event : response.body().split("\n\n")) {
            String[] lines = event.split("\n");
            last = TestServer.json(lines[1].substring("data: ".length()));
            String type = last.get("type").textValue();
            assertThat(lines[0]).isEqualTo("event: " + type);
            assertThat(last.get("sequence_number").intValue()).isEqualTo(number++);
            if (type.endsWith(".delta")) {
                text.append(last.get("delta").textValue());
            } else {
                order.add(type.replace("response.", "") + last.at("/item/type").asText(""));
                text.append(type.endsWith("output_item.done") ? "|" : "");
            }
        }
        assertThat(order).containsExactly("created", "in_progress", "output_item.addedreasoning", "content_part.added", "reasoning_text.done",
                "content_part.done", "output_item.donereasoning", "output_item.addedmessage", "content_part.added", "output_text.done", "content_part.done",
                "output_item.donemessage", "output_item.addedfunction_call", "function_call_arguments.done", "output_item.donefunction_call", "completed");
        assertThat(text.toString()).isEqualTo("Hm.|Well.|{\"a\":1}|");
        assertThat(last.at("/response/output")).hasSize(3);
        assertThat(last.at("/response/usage/output_tokens").intValue()).isPositive();
    }

    /** Property: earlier turns, with calls and results, reach the template as the messages they mean. */
    @Test
    void aConversation() {
        JsonNode response = server.ok(PATH, "{'instructions':'S','max_output_tokens':1,'input':[{'role':'user','content':'A'},"
                + "{'type':'message','role':'assistant','content':[{'type':'output_text','text':'B'}]},"
                + "{'type':'reasoning','summary':[]},{'type':'function_call','call_id':'c','name':'f','arguments':'{}'},"
                + "{'type':'function_call_output','call_id':'c','output':'R'},{'role':'user','content':[{'type':'input_text','text':'D'}]}]}");
        assertThat(response.at("/usage/input_tokens").intValue())
                .isEqualTo("system: S\nuser: A\nassistant: B\ntool: R\nuser: D\nassistant:".length());
    }

    /** Property: what this server cannot do is refused by name. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', textBlock = """
            input | {'model':'tiny'}
            input | {'input':5}
            previous_response_id | {'input':'x','previous_response_id':'resp_1'}
            background | {'input':'x','background':true}
            tools[0].type | {'input':'x','tools':[{'type':'web_search'}]}
            input[0].type | {'input':[{'type':'item_reference','id':'x'}]}
            input[0].content[0].type | {'input':[{'role':'user','content':[{'type':'input_image'}]}]}
            max_output_tokens | {'input':'x','max_output_tokens':0}
            temperature | {'input':'x','temperature':3000000000000000000000000000000000000000}
            """)
    void refusals(String param, String body) {
        HttpResponse<String> response = server.post(PATH, body.replace('\'', '"'));
        assertThat(response.statusCode()).as(response.body()).isEqualTo(400);
        assertThat(TestServer.json(response.body()).at("/error/param").textValue()).isEqualTo(param);
    }
}
