package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;
import java.util.concurrent.Semaphore;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Guards tool calls and reasoning over HTTP: a model that says what the last message tells it to say, in its own notation, and clients that
 * get calls in the official form, whole and streamed.
 */
class ToolCallsTest {
    private static final String PATH = "/v1/chat/completions";
    private static final String TOOLS = "'tools':[{'type':'function','function':{'name':'f','parameters':{'type':'object'}}},"
            + "{'type':'function','function':{'name':'g'}}]";
    private static final String CALLS = "Well. <tool_call>{\\\"name\\\":\\\"f\\\",\\\"arguments\\\":{\\\"a\\\": [1]}}</tool_call>"
            + "<tool_call>{\\\"name\\\":\\\"g\\\"}</tool_call>";
    private static TestServer server;

    @BeforeAll
    static void start() {
        server = new TestServer(engine -> engine.nextToken(new EchoModel()), config -> config.toolCallParser("hermes").reasoningParser("think"), 64, new Semaphore(1 << 30));
    }

    @AfterAll
    static void stop() {
        server.close();
    }

    private static String body(String say, String more) {
        return "{'messages':[{'role':'user','content':'" + say + "'}]," + more + "}";
    }

    private static String tools(JsonNode message) {
        StringBuilder text = new StringBuilder();
        for (JsonNode call : message.path("tool_calls")) {
            assertThat(call.get("type").textValue()).isEqualTo("function");
            assertThat(call.get("id").textValue()).matches("call_[0-9a-z]{24}");
            text.append(call.at("/function/name").textValue()).append(call.at("/function/arguments").textValue()).append(' ');
        }
        return text.toString().strip();
    }

    /** Property: calls come apart from content, in order, each with an id of its own, and the answer says why it ended. */
    @Test
    void callsAreToldFromContent() {
        JsonNode choice = server.ok(PATH, body(CALLS, TOOLS)).at("/choices/0");
        assertThat(choice.at("/message/content").textValue()).isEqualTo("Well.");
        assertThat(tools(choice.get("message"))).isEqualTo("f{\"a\": [1]} g{}");
        assertThat(choice.get("finish_reason").textValue()).isEqualTo("tool_calls");
        assertThat(choice.at("/message/tool_calls/0/id")).isNotEqualTo(choice.at("/message/tool_calls/1/id"));
    }

    /** Property: without content the field is null, as clients of the official API expect. */
    @Test
    void contentIsNullWhereThereIsNone() {
        JsonNode message = server.ok(PATH, body(CALLS.substring("Well. ".length()), TOOLS)).at("/choices/0/message");
        assertThat(message.get("content").isNull()).isTrue();
        assertThat(tools(message)).isEqualTo("f{\"a\": [1]} g{}");
    }

    /** Property: streamed deltas put together are the same message; a call's first delta names it, once; one finish reason at the end. */
    @Test
    void streamedCallsAreTheSame() {
        List<JsonNode> events = server.stream(PATH, body(CALLS, TOOLS + ",'stream':true"));
        StringBuilder text = new StringBuilder();
        int finished = 0;
        for (JsonNode event : events) {
            JsonNode choice = event.at("/choices/0");
            text.append(choice.at("/delta/content").asText(""));
            for (JsonNode call : choice.at("/delta/tool_calls")) {
                if (call.has("id")) {
                    assertThat(call.get("type").textValue()).isEqualTo("function");
                    text.append('|').append(call.get("index").intValue()).append(call.at("/function/name").textValue());
                }
                text.append(call.at("/function/arguments").textValue());
            }
            finished += choice.get("finish_reason").isNull() ? 0 : 1;
        }
        assertThat(text.toString()).isEqualTo("Well.|0f{\"a\": [1]}|1g{}");
        assertThat(finished).isEqualTo(1);
        assertThat(events.getLast().at("/choices/0/finish_reason").textValue()).isEqualTo("tool_calls");
        assertThat(events.size()).as("arguments come in pieces").isGreaterThan(10);
    }

    /** Property: what was cut off is no call, and the reason is the length. */
    @Test
    void halfACallIsNone() {
        JsonNode choice = server.ok(PATH, body(CALLS, TOOLS + ",'max_tokens':50")).at("/choices/0");
        assertThat(choice.get("finish_reason").textValue()).isEqualTo("length");
        assertThat(choice.get("message").has("tool_calls")).isFalse();
        assertThat(choice.at("/message/content").textValue()).isEqualTo("Well.");
    }

    /** Property: nothing of a complete text is lost where a call turns out to be none. */
    @Test
    void aBrokenCallIsContent() {
        String say = "A <tool_call>{\\\"name\\\":\\\"f\\\",\\\"arguments\\\":{\\\"a\\\":1";
        JsonNode choice = server.ok(PATH, body(say, TOOLS)).at("/choices/0");
        assertThat(choice.at("/message/content").textValue()).isEqualTo(say.replace("\\\"", "\""));
        assertThat(choice.get("finish_reason").textValue()).isEqualTo("stop");
    }

    /** Property: whoever wants one call gets one. */
    @Test
    void oneCallWhereNoMoreAreWanted() {
        String one = TOOLS + ",'parallel_tool_calls':false";
        assertThat(tools(server.ok(PATH, body(CALLS, one)).at("/choices/0/message"))).isEqualTo("f{\"a\": [1]}");
        assertThat(server.stream(PATH, body(CALLS, one + ",'stream':true")).stream().filter(e -> e.at("/choices/0/delta/tool_calls/0").has("id")))
                .hasSize(1);
    }

    /** Property: without tools, or with none wanted, the text is content whatever it looks like. */
    @Test
    void noToolsNoCalls() {
        String text = CALLS.replace("\\\"", "\"");
        assertThat(server.ok(PATH, body(CALLS, "'n':1")).at("/choices/0/message/content").textValue()).isEqualTo(text);
        JsonNode choice = server.ok(PATH, body(CALLS, TOOLS + ",'tool_choice':'none'")).at("/choices/0");
        assertThat(choice.at("/message/content").textValue()).isEqualTo(text);
        assertThat(choice.get("finish_reason").textValue()).isEqualTo("stop");
    }

    /** Property: thoughts come apart, under both names in use, whole and streamed, with tools or without. */
    @Test
    void thoughtsAreToldFromContent() {
        String say = "<think>Hm.</think> Yes.";
        JsonNode message = server.ok(PATH, body(say, "'n':1")).at("/choices/0/message");
        assertThat(message.get("content").textValue()).isEqualTo("Yes.");
        assertThat(message.get("reasoning").textValue()).isEqualTo("Hm.");
        assertThat(message.get("reasoning_content").textValue()).isEqualTo("Hm.");
        StringBuilder text = new StringBuilder();
        for (JsonNode event : server.stream(PATH, body(say, TOOLS + ",'stream':true"))) {
            text.append(event.at("/choices/0/delta/reasoning").asText("")).append(event.at("/choices/0/delta/content").asText(""));
        }
        assertThat(text.toString()).isEqualTo("Hm.Yes.");
    }

    /** Property: every token's log-probability is in the stream once, also of tokens that are no text. */
    @Test
    void logprobsCoverAllTokens() {
        int scores = 0;
        for (JsonNode event : server.stream(PATH, body(CALLS, TOOLS + ",'stream':true,'logprobs':true"))) {
            scores += event.at("/choices/0/logprobs/content").size();
        }
        assertThat(scores).isEqualTo(CALLS.replace("\\\"", "\"").length());
    }

    /** Property: the messages of a whole round, call and result, are understood by the template. */
    @Test
    void aRoundOfCallAndResult() throws Exception {
        JsonNode message = server.ok(PATH, body(CALLS, TOOLS)).at("/choices/0/message");
        String answer = new ObjectMapper().writeValueAsString(message);
        String id = message.at("/tool_calls/0/id").textValue();
        String request = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}," + answer + ",{\"role\":\"tool\",\"tool_call_id\":\"" + id
                + "\",\"content\":\"cold\"}],\"max_tokens\":1," + TOOLS.replace('\'', '"') + "}";
        assertThat(server.post(PATH, request).statusCode()).isEqualTo(200);
    }
}
