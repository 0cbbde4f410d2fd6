package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.server.openai.ByteTokenizer;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Guards the answers of {@code /v1/completions}: shape, counts, choices, stop conditions, log-probabilities, streams equal to whole answers. */
class CompletionsTest {
    private static final String PATH = "/v1/completions";
    private static TestServer server;

    @BeforeAll
    static void start() {
        server = new TestServer();
    }

    @AfterAll
    static void stop() {
        server.close();
    }

    private static String text(JsonNode answer) {
        return answer.at("/choices/0/text").textValue();
    }

    private static String joined(List<JsonNode> events, int index) {
        StringBuilder text = new StringBuilder();
        for (JsonNode event : events) {
            for (JsonNode choice : event.get("choices")) {
                if (choice.get("index").intValue() == index) {
                    text.append(choice.get("text").textValue());
                }
            }
        }
        return text.toString();
    }

    @Test
    void answerHasTheOfficialShape() {
        JsonNode answer = server.ok(PATH, "{'model':'tiny','prompt':'hi','max_tokens':5,'temperature':0}");
        assertThat(answer.get("id").textValue()).startsWith("cmpl-");
        assertThat(answer.get("object").textValue()).isEqualTo("text_completion");
        assertThat(answer.get("model").textValue()).isEqualTo("tiny");
        assertThat(text(answer)).hasSize(5);
        assertThat(answer.at("/choices/0/finish_reason").textValue()).isEqualTo("length");
        assertThat(answer.at("/choices/0/logprobs").isNull()).isTrue();
        assertThat(answer.at("/usage/prompt_tokens").intValue()).isEqualTo(3);
        assertThat(answer.at("/usage/completion_tokens").intValue()).isEqualTo(5);
        assertThat(answer.at("/usage/total_tokens").intValue()).isEqualTo(8);
        assertThat(answer.at("/usage/prompt_tokens_details/cached_tokens").isInt()).isTrue();
    }

    @Test
    void defaultIsSixteenTokensOrWhatTheContextLeaves() {
        assertThat(text(server.ok(PATH, "{'prompt':'hi'}"))).hasSize(16);
        String longPrompt = "x".repeat(TestServer.MAX_MODEL_LEN - 1 - 4);
        assertThat(text(server.ok(PATH, "{'prompt':'" + longPrompt + "'}"))).hasSize(4);
    }

    @Test
    void streamedTextIsTheWholeText() {
        String body = "{'prompt':'hi','max_tokens':40,'temperature':0";
        String whole = text(server.ok(PATH, body + "}"));
        List<JsonNode> events = server.stream(PATH, body + ",'stream':true}");
        assertThat(joined(events, 0)).isEqualTo(whole);
        assertThat(events.stream().filter(e -> e.at("/choices/0/finish_reason").isTextual())).hasSize(1);
        assertThat(events.getLast().at("/choices/0/finish_reason").textValue()).isEqualTo("length");
        assertThat(events).noneMatch(e -> e.has("usage"));
        assertThat(events.stream().map(e -> e.get("id").textValue()).distinct()).hasSize(1);
        assertThat(events).hasSize(41); // one per token and the end
    }

    @Test
    void usageComesOnceAndLast() {
        List<JsonNode> events = server.stream(PATH, "{'prompt':'hi','max_tokens':4,'stream':true,'stream_options':{'include_usage':true}}");
        assertThat(events.getLast().get("choices")).isEmpty();
        assertThat(events.getLast().at("/usage/completion_tokens").intValue()).isEqualTo(4);
        assertThat(events.subList(0, events.size() - 1)).allMatch(e -> e.get("usage").isNull());
        List<JsonNode> continuous = server.stream(PATH,
                "{'prompt':'hi','max_tokens':4,'stream':true,'stream_options':{'include_usage':true,'continuous_usage_stats':true}}");
        assertThat(continuous.getFirst().at("/usage/completion_tokens").intValue()).isEqualTo(1);
        assertThat(continuous).allMatch(e -> e.at("/usage/prompt_tokens").intValue() == 3);
    }

    @Test
    void allFourPromptForms() {
        String a = text(server.ok(PATH, "{'prompt':'ab','max_tokens':6,'temperature':0}"));
        String b = text(server.ok(PATH, "{'prompt':'cd','max_tokens':6,'temperature':0}"));
        int idA = ByteTokenizer.id('a');
        String idsA = "[1," + idA + "," + (idA + 1) + "]";
        String idsB = "[1," + (idA + 2) + "," + (idA + 3) + "]";
        assertThat(text(server.ok(PATH, "{'prompt':" + idsA + ",'max_tokens':6,'temperature':0}"))).isEqualTo(a);
        for (String form : List.of("['ab','cd']", "[" + idsA + "," + idsB + "]")) {
            JsonNode answer = server.ok(PATH, "{'prompt':" + form + ",'max_tokens':6,'temperature':0}");
            assertThat(answer.at("/choices/0/text").textValue()).isEqualTo(a);
            assertThat(answer.at("/choices/1/text").textValue()).isEqualTo(b);
            assertThat(answer.at("/usage/prompt_tokens").intValue()).isEqualTo(6);
        }
    }

    @Test
    void choicesUnderOneSeedDifferAndRepeat() {
        String body = "{'prompt':['ab','cd'],'n':3,'max_tokens':12,'temperature':1,'seed':7";
        JsonNode answer = server.ok(PATH, body + "}");
        Set<String> texts = new HashSet<>();
        List<String> ordered = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            assertThat(answer.at("/choices/" + i + "/index").intValue()).isEqualTo(i);
            texts.add(answer.at("/choices/" + i + "/text").textValue());
            ordered.add(answer.at("/choices/" + i + "/text").textValue());
        }
        assertThat(texts).hasSize(6);
        assertThat(answer.at("/usage/prompt_tokens").intValue()).isEqualTo(6);
        assertThat(answer.at("/usage/completion_tokens").intValue()).isEqualTo(72);
        List<JsonNode> events = server.stream(PATH, body + ",'stream':true}");
        for (int i = 0; i < 6; i++) {
            assertThat(joined(events, i)).isEqualTo(ordered.get(i));
        }
        assertThat(events.stream().filter(e -> e.at("/choices/0/finish_reason").isTextual())).hasSize(6);
        assertThat(text(server.ok(PATH, "{'prompt':'ab','max_tokens':12,'temperature':1,'seed':7}"))).isEqualTo(ordered.getFirst());
    }

    @Test
    void textEndsBeforeAStopStringHoweverItIsCut() {
        String whole = text(server.ok(PATH, "{'prompt':'hi','max_tokens':40,'temperature':0}"));
        String stop = whole.substring(17, 21);
        String expected = whole.substring(0, whole.indexOf(stop));
        String body = "{'prompt':'hi','max_tokens':40,'temperature':0,'stop':['never','" + stop + "']";
        JsonNode answer = server.ok(PATH, body + "}");
        assertThat(text(answer)).isEqualTo(expected);
        assertThat(answer.at("/choices/0/finish_reason").textValue()).isEqualTo("stop");
        assertThat(answer.at("/choices/0/stop_reason").textValue()).isEqualTo(stop);
        assertThat(answer.at("/usage/completion_tokens").intValue()).isEqualTo(expected.length() + 4);
        List<JsonNode> events = server.stream(PATH, body + ",'stream':true}");
        assertThat(joined(events, 0)).isEqualTo(expected);
        assertThat(text(server.ok(PATH, body + ",'include_stop_str_in_output':true}"))).isEqualTo(expected + stop);
        assertThat(text(server.ok(PATH, body + ",'min_tokens':40}"))).isEqualTo(whole);
    }

    @Test
    void stopTokensEndTheTextAndAreNoPartOfIt() {
        String whole = text(server.ok(PATH, "{'prompt':'hi','max_tokens':40,'temperature':0}"));
        int id = ByteTokenizer.id(whole.charAt(9));
        int at = whole.indexOf(whole.charAt(9));
        JsonNode answer = server.ok(PATH, "{'prompt':'hi','max_tokens':40,'temperature':0,'stop_token_ids':[" + id + "]}");
        assertThat(text(answer)).isEqualTo(whole.substring(0, at));
        assertThat(answer.at("/choices/0/finish_reason").textValue()).isEqualTo("stop");
        assertThat(answer.at("/choices/0/stop_reason").intValue()).isEqualTo(id);
        assertThat(answer.at("/usage/completion_tokens").intValue()).isEqualTo(at + 1);
    }

    @Test
    void echoPrecedesTheAnswer() {
        String whole = text(server.ok(PATH, "{'prompt':'hi','max_tokens':5,'temperature':0}"));
        assertThat(text(server.ok(PATH, "{'prompt':'hi','max_tokens':5,'temperature':0,'echo':true}"))).isEqualTo("hi" + whole);
        assertThat(joined(server.stream(PATH, "{'prompt':'hi','max_tokens':5,'temperature':0,'echo':true,'stream':true}"), 0))
                .isEqualTo("hi" + whole);
    }

    @Test
    void promptIsScoredWithoutGenerating() {
        JsonNode answer = server.ok(PATH, "{'prompt':'hello','max_tokens':0,'echo':true,'logprobs':2}");
        assertThat(text(answer)).isEqualTo("hello");
        assertThat(answer.at("/usage/completion_tokens").intValue()).isZero();
        assertThat(answer.at("/choices/0/finish_reason").textValue()).isEqualTo("length");
        JsonNode scores = answer.at("/choices/0/logprobs");
        assertThat(scores.get("tokens")).hasSize(6);
        assertThat(scores.at("/token_logprobs/0").isNull()).isTrue();
        assertThat(scores.at("/top_logprobs/0").isNull()).isTrue();
        for (int i = 1; i < 6; i++) {
            assertThat(scores.get("token_logprobs").get(i).isNumber()).isTrue();
            assertThat(scores.get("top_logprobs").get(i).size()).isBetween(2, 3);
        }
    }

    @Test
    void logprobsCoverEveryTokenAndOffsetsFollowThem() {
        String body = "{'prompt':'hi','max_tokens':8,'temperature':0,'logprobs':3";
        JsonNode answer = server.ok(PATH, body + "}");
        JsonNode scores = answer.at("/choices/0/logprobs");
        StringBuilder tokens = new StringBuilder();
        for (int i = 0; i < 8; i++) {
            assertThat(scores.get("text_offset").get(i).intValue()).isEqualTo(tokens.length());
            tokens.append(scores.get("tokens").get(i).textValue());
            assertThat(scores.get("top_logprobs").get(i).size()).isBetween(3, 4);
        }
        assertThat(tokens).hasToString(text(answer));
        List<Integer> offsets = new ArrayList<>();
        server.stream(PATH, body + ",'stream':true}").forEach(event -> event.at("/choices/0/logprobs/text_offset")
                .forEach(offset -> offsets.add(offset.intValue())));
        assertThat(offsets).containsExactly(0, 1, 2, 3, 4, 5, 6, 7);
        assertThat(server.ok(PATH, "{'prompt':'hi','logprobs':0}").at("/choices/0/logprobs/token_logprobs")).hasSize(16);
    }

    /** Clients slice their own strings by these offsets, most of them by code points. */
    @Test
    void offsetsCountCodePoints() {
        JsonNode scores = server.ok(PATH, "{'prompt':'\uD83D\uDE00x','max_tokens':1,'echo':true,'logprobs':0}").at("/choices/0/logprobs");
        List<Integer> offsets = new ArrayList<>();
        scores.get("text_offset").forEach(offset -> offsets.add(offset.intValue()));
        assertThat(offsets).containsExactly(0, 0, 0, 0, 0, 1, 2);
    }

    @Test
    void tokenizeAndDetokenizeAreInverse() {
        JsonNode tokens = server.ok("/tokenize", "{'model':'tiny','prompt':'hé','return_token_strs':true}");
        assertThat(tokens.get("count").intValue()).isEqualTo(4);
        assertThat(tokens.get("max_model_len").intValue()).isEqualTo(TestServer.MAX_MODEL_LEN);
        assertThat(tokens.at("/token_strs/0").textValue()).isEqualTo("<s>");
        assertThat(server.ok("/tokenize", "{'prompt':'hé','add_special_tokens':false}").get("count").intValue()).isEqualTo(3);
        assertThat(server.ok("/tokenize", "{'messages':[{'role':'user','content':'x'}]}").get("count").intValue()).isEqualTo(18);
        assertThat(server.ok("/detokenize", "{'tokens':" + tokens.get("tokens") + "}").get("prompt").textValue()).isEqualTo("<s>hé");
    }
}
