package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.server.openai.ByteTokenizer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Guards the answers of {@code /v1/chat/completions}: shape, message forms, roles in streams, log-probabilities, defaults. */
class ChatCompletionsTest {
    private static final String PATH = "/v1/chat/completions";
    private static final String HI = "'messages':[{'role':'user','content':'hi'}]";
    private static TestServer server;

    @BeforeAll
    static void start() {
        server = new TestServer();
    }

    @AfterAll
    static void stop() {
        server.close();
    }

    private static String content(JsonNode answer) {
        return answer.at("/choices/0/message/content").textValue();
    }

    private static String joined(List<JsonNode> events, int index) {
        return events.stream().flatMap(e -> java.util.stream.StreamSupport.stream(e.get("choices").spliterator(), false))
                .filter(c -> c.get("index").intValue() == index).map(c -> c.at("/delta/content").asText("")).collect(Collectors.joining());
    }

    @Test
    void answerHasTheOfficialShape() {
        JsonNode answer = server.ok(PATH, "{'model':'tiny'," + HI + ",'max_tokens':7,'temperature':0}");
        assertThat(answer.get("id").textValue()).startsWith("chatcmpl-");
        assertThat(answer.get("object").textValue()).isEqualTo("chat.completion");
        assertThat(answer.at("/choices/0/message/role").textValue()).isEqualTo("assistant");
        assertThat(content(answer)).hasSize(7);
        assertThat(answer.at("/choices/0/message/refusal").isNull()).isTrue();
        assertThat(answer.at("/choices/0/logprobs").isNull()).isTrue();
        assertThat(answer.at("/choices/0/finish_reason").textValue()).isEqualTo("length");
        assertThat(answer.at("/usage/prompt_tokens").intValue()).isEqualTo("user: hi\nassistant:".length());
    }

    @Test
    void defaultIsTheRestOfTheContext() {
        int prompt = "user: hi\nassistant:".length();
        assertThat(content(server.ok(PATH, "{" + HI + "}"))).hasSize(TestServer.MAX_MODEL_LEN - prompt);
        assertThat(content(server.ok(PATH, "{" + HI + ",'max_completion_tokens':3,'max_tokens':9}"))).hasSize(3);
    }

    @Test
    void firstChunkOfEachChoiceCarriesTheRoleAndLaterOnesDoNot() {
        String body = "{" + HI + ",'max_tokens':5,'n':2,'temperature':1,'seed':3";
        JsonNode whole = server.ok(PATH, body + "}");
        List<JsonNode> events = server.stream(PATH, body + ",'stream':true}");
        for (int i = 0; i < 2; i++) {
            int index = i;
            List<JsonNode> own = events.stream().filter(e -> e.at("/choices/0/index").intValue() == index).toList();
            assertThat(own.getFirst().at("/choices/0/delta/role").textValue()).isEqualTo("assistant");
            assertThat(own.getFirst().at("/choices/0/delta/content").textValue()).isEmpty();
            assertThat(own.subList(1, own.size())).noneMatch(e -> e.at("/choices/0/delta").has("role"));
            assertThat(own).allMatch(e -> e.get("object").textValue().equals("chat.completion.chunk"));
            assertThat(own.subList(0, own.size() - 1)).allMatch(e -> e.at("/choices/0/finish_reason").isNull());
            assertThat(own.getLast().at("/choices/0/finish_reason").textValue()).isEqualTo("length");
            assertThat(joined(events, i)).isEqualTo(whole.at("/choices/" + i + "/message/content").textValue());
        }
        assertThat(joined(events, 0)).isNotEqualTo(joined(events, 1));
    }

    @Test
    void contentPartsAreTheirText() {
        String plain = content(server.ok(PATH, "{" + HI + ",'max_tokens':9,'temperature':0}"));
        assertThat(content(server.ok(PATH,
                "{'messages':[{'role':'user','content':[{'type':'text','text':'hi'}]}],'max_tokens':9,'temperature':0}"))).isEqualTo(plain);
        JsonNode two = server.ok("/tokenize", "{'messages':[{'role':'user','content':[{'type':'text','text':'a'},{'type':'text','text':'b'}]}]}");
        assertThat(two.get("count").intValue()).isEqualTo("user: a\nb\nassistant:".length());
    }

    @Test
    void developerMessagesAreSystemMessages() {
        JsonNode developer = server.ok("/tokenize", "{'messages':[{'role':'developer','content':'x'}]}");
        JsonNode system = server.ok("/tokenize", "{'messages':[{'role':'system','content':'x'}]}");
        assertThat(developer).isEqualTo(system);
    }

    @Test
    void lastMessageCanBeContinued() {
        JsonNode tokens = server.ok("/tokenize", "{'messages':[{'role':'user','content':'q'},{'role':'assistant','content':'so far'}],"
                + "'continue_final_message':true}");
        assertThat(server.ok("/detokenize", "{'tokens':" + tokens.get("tokens") + "}").get("prompt").textValue())
                .isEqualTo("user: q\nassistant: so far");
    }

    @Test
    void logprobsSpellTheContent() throws IOException {
        String body = "{" + HI + ",'max_tokens':6,'temperature':0,'logprobs':true,'top_logprobs':4";
        JsonNode answer = server.ok(PATH, body + "}");
        ByteArrayOutputStream spelled = new ByteArrayOutputStream();
        JsonNode entries = answer.at("/choices/0/logprobs/content");
        assertThat(entries).hasSize(6);
        for (JsonNode entry : entries) {
            entry.get("bytes").forEach(b -> spelled.write(b.intValue()));
            assertThat(entry.get("logprob").doubleValue()).isLessThanOrEqualTo(0);
            assertThat(entry.get("top_logprobs")).hasSize(4);
        }
        assertThat(spelled.toString(StandardCharsets.UTF_8)).isEqualTo(content(answer));
        List<JsonNode> events = server.stream(PATH, body + ",'stream':true}");
        assertThat(events.stream().mapToInt(e -> e.at("/choices/0/logprobs/content").size()).sum()).isEqualTo(6);
        JsonNode without = server.ok(PATH, "{" + HI + ",'max_tokens':2,'logprobs':true}");
        without.at("/choices/0/logprobs/content").forEach(entry -> assertThat(entry.get("top_logprobs")).isEmpty());
    }

    @Test
    void nullIsAbsentAndUnknownFieldsAreIgnored() {
        String plain = content(server.ok(PATH, "{" + HI + ",'max_tokens':9,'temperature':0}"));
        assertThat(content(server.ok(PATH, "{" + HI + ",'max_tokens':9,'temperature':0,'top_p':null,'n':null,'stop':null,'seed':null,"
                + "'logprobs':null,'top_logprobs':null,'logit_bias':null,'presence_penalty':null,'stream':null,'stream_options':null,"
                + "'response_format':null,'tools':null,'tool_choice':null,'user':null,'best_of':null,'guided_json':null,"
                + "'model':null,'store':true,'metadata':{'a':'b'},'service_tier':'auto','parallel_tool_calls':true,'x_unknown':[1]}")))
                .isEqualTo(plain);
        assertThat(content(server.ok(PATH, "{" + HI + ",'max_tokens':9,'temperature':0,'response_format':{'type':'text'},'best_of':1,"
                + "'tools':[{'type':'function','function':{'name':'f'}}],'tool_choice':'none','use_beam_search':false}"))).isEqualTo(plain);
        assertThat(content(server.ok(PATH, "{" + HI + ",'max_tokens':9.0,'temperature':0,'tools':[]}"))).isEqualTo(plain);
    }

    @Test
    void toolHistoryIsAccepted() {
        JsonNode answer = server.ok(PATH, "{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':null,'tool_calls':[{'id':'c',"
                + "'type':'function','function':{'name':'f','arguments':''}}]},{'role':'tool','tool_call_id':'c','content':'cold'}],'max_tokens':2}");
        assertThat(answer.at("/choices/0/message/role").textValue()).isEqualTo("assistant");
    }

    /** A character of several tokens is shown when it is complete, never in halves; what never completes becomes U+FFFD. */
    @Test
    void charactersAreNeverSplit() {
        byte[] text = "é漢😀é".getBytes(StandardCharsets.UTF_8);
        try (TestServer multibyte = new TestServer(
                engine -> engine.nextToken((sequence, hash) -> 3 + (text[sequence.numOutputTokens() % text.length] & 0xff)), c -> c)) {
            List<JsonNode> events = multibyte.stream(PATH, "{" + HI + ",'max_tokens':" + text.length + ",'stream':true}");
            assertThat(joined(events, 0)).isEqualTo("é漢😀é");
            assertThat(events).hasSize(1 + 4 + 1);
            assertThat(content(multibyte.ok(PATH, "{" + HI + ",'max_tokens':" + (text.length - 1) + "}"))).isEqualTo("é漢😀\uFFFD");
            assertThat(content(multibyte.ok(PATH, "{" + HI + ",'max_tokens':30,'stop':'漢'}"))).isEqualTo("é");
        }
    }

    @Test
    void modelsEndOfSequenceStopsUnlessIgnored() {
        try (TestServer ending = new TestServer(engine -> engine.nextToken((sequence, hash) -> sequence.numOutputTokens() == 4
                ? ByteTokenizer.EOS : ByteTokenizer.id('x')).eosTokenIds(ByteTokenizer.EOS), c -> c)) {
            JsonNode answer = ending.ok(PATH, "{" + HI + ",'max_tokens':9,'logprobs':true}");
            assertThat(content(answer)).isEqualTo("xxxx");
            assertThat(answer.at("/choices/0/finish_reason").textValue()).isEqualTo("stop");
            assertThat(answer.at("/choices/0/stop_reason").isNull()).isTrue();
            assertThat(answer.at("/usage/completion_tokens").intValue()).isEqualTo(5);
            assertThat(answer.at("/choices/0/logprobs/content")).hasSize(4);
            assertThat(content(ending.ok(PATH, "{" + HI + ",'max_tokens':9,'ignore_eos':true}"))).isEqualTo("xxxxxxxx");
        }
    }
}
