package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.http.HttpResponse;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Guards that whatever a client gets wrong is refused with a 400 that names the field, streaming or not, and that the server goes on. */
class BadRequestTest {
    private static TestServer server;

    @BeforeAll
    static void start() {
        server = new TestServer();
    }

    @AfterAll
    static void stop() {
        try (TestServer running = server) {
            assertThat(running.isIdle()).isTrue();
            assertThat(running.post("/v1/completions", "{\"prompt\":\"hi\"}").statusCode()).isEqualTo(200);
        }
    }

    /** Property: a text that encodes to ids beyond the model's embedding is the client's error, not a step that fails. */
    @org.junit.jupiter.api.Test
    void textBeyondTheModelsVocabularyIsRefused() {
        try (TestServer small = new TestServer(engine -> engine.vocabSize(io.millrace.server.openai.ByteTokenizer.id('z') + 1), config -> config)) {
            assertRefused(small.post("/v1/completions", "{\"prompt\":\"a~b\"}"), "prompt", "embeddings for [0, ");
            assertRefused(small.post("/v1/completions", "{\"prompt\":[\"ab\",\"a~b\"]}"), "prompt", "embeddings for [0, ");
            assertRefused(small.post("/v1/chat/completions", "{\"messages\":[{\"role\":\"user\",\"content\":\"~\"}]}"), "messages", "embeddings");
            assertThat(small.post("/v1/completions", "{\"prompt\":\"ab\"}").statusCode()).isEqualTo(200);
        }
    }

    private static void assertRefused(HttpResponse<String> response, String param, String mention) {
        assertThat(response.statusCode()).as(response.body()).isEqualTo(400);
        assertThat(response.headers().firstValue("content-type")).hasValue("application/json");
        JsonNode error = TestServer.json(response.body()).get("error");
        assertThat(error.fieldNames()).toIterable().containsExactlyInAnyOrder("message", "type", "param", "code");
        assertThat(error.get("type").textValue()).isEqualTo("invalid_request_error");
        assertThat(error.get("code").isTextual()).isTrue();
        if (param != null) {
            assertThat(error.get("param").textValue()).isEqualTo(param);
            assertThat(error.get("message").textValue()).contains(param);
        }
        if (mention != null) {
            assertThat(error.get("message").textValue()).contains(mention);
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '#', textBlock = """
            temperature              | -1                       | -1
            temperature              | 'hot'                    | hot
            temperature              | true                     | true
            temperature              | 1e999                    |
            top_p                    | 1.5                      | at most 1
            top_p                    | 0                        | greater than 0
            top_k                    | -2                       | at least -1
            top_k                    | 1.5                      | integer
            min_p                    | 2                        |
            repetition_penalty       | 0                        |
            presence_penalty         | 3                        |
            frequency_penalty        | -2.1                     |
            max_tokens               | -1                       |
            max_tokens               | 'ten'                    | integer
            max_tokens               | 99999999999999999999     |
            max_tokens               | 1000                     | 256
            n                        | 0                        |
            n                        | 129                      | 128
            n                        | [1]                      | array
            seed                     | 9223372036854775808      | 64 bits
            seed                     | 1.5                      |
            seed                     | 'x'                      |
            stop                     | 5                        |
            stop                     | ['a',5]                  |
            stop                     | ['']                     |
            stop_token_ids           | 7                        |
            stop_token_ids           | [99999]                  | 259
            stop_token_ids           | ['a']                    |
            min_tokens               | -1                       |
            min_tokens               | 200                      |
            ignore_eos               | 'yes'                    |
            skip_special_tokens      | 1                        |
            include_stop_str_in_output | 'no'                   |
            logit_bias               | {'word':1}               | word
            logit_bias               | {'5':101}                |
            logit_bias               | {'5':'x'}                | number
            logit_bias               | {'259':1}                | 259
            logit_bias               | {'7':1,'07':2}           | twice
            logit_bias               | {'-1':1}                 | -1
            logit_bias               | [1]                      |
            stream                   | 'yes'                    |
            stream_options           | {'include_usage':true}   | stream
            model                    | 5                        | string
            best_of                  | 2                        | not supported
            use_beam_search          | true                     | not supported
            structured_outputs       | {}                       | one of json
            structured_outputs       | 5                        | object
            guided_regex             | 'a('                     | position 1
            guided_choice            | ['a',5]                  | strings
            guided_choice            | []                       | to choose from
            grammar                  | 'root'                   | line 1
            json_schema              | {'type':123}             | neither the name
            guided_whitespace_pattern | ' *'                    | not supported
            allowed_token_ids        | [5]                      | not supported
            bad_words                | ['x']                    | not supported
            prompt_embeds            | 'AAAA'                   | not supported
            priority                 | 1                        | --scheduling-policy priority
            truncate_prompt_tokens   | 4                        | not supported
            response_format          | {'type':'structural_tag'} | not supported
            """)
    void valuesOfBothEndpoints(String field, String value, String mention) {
        String json = "\"" + field + "\":" + value.replace('\'', '"');
        String param = value.startsWith("{'5'") ? "logit_bias.5" : field;
        for (String stream : field.startsWith("stream") ? new String[] {""} : new String[] {"", ",\"stream\":true"}) {
            assertRefused(server.post("/v1/completions", "{\"prompt\":\"hi\"," + json + stream + "}"), param,
                    mention);
            String limit = field.startsWith("m") && field.endsWith("tokens") ? "" : ",\"max_tokens\":20";
            if (field.equals("min_tokens") && value.equals("200")) {
                limit = ",\"max_tokens\":20";
            }
            assertRefused(server.post("/v1/chat/completions",
                    "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]," + json + stream + limit + "}"), param, null);
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '#', textBlock = """
            prompt   | {}                                      | missing
            prompt   | {'prompt':null}                         | missing
            prompt   | {'prompt':[]}                           | empty
            prompt   | {'prompt':[[]]}                         | empty
            prompt   | {'prompt':5}                            | number 5
            prompt   | {'prompt':{}}                           | object
            prompt   | {'prompt':['a',1]}                      |
            prompt   | {'prompt':[1,'a']}                      | token ids
            prompt   | {'prompt':[[1],'a']}                    |
            prompt   | {'prompt':[99999999]}                   | 99999999
            prompt   | {'prompt':[-1]}                         | -1
            prompt   | {'prompt':[1.5]}                        |
            prompt   | {'prompt':[99999999999999999999]}       |
            prompt   | {'prompt':'','add_special_tokens':false}| empty
            logprobs | {'prompt':'a','logprobs':21}            |
            logprobs | {'prompt':'a','logprobs':true}          | integer
            logprobs | {'prompt':'a','logprobs':-1}            |
            suffix   | {'prompt':'a','suffix':'z'}             | not supported
            echo     | {'prompt':'a','echo':'z'}               |
            n        | {'prompt':'a','n':128,'max_tokens':300} |
            """)
    void completionBodies(String param, String body, String mention) {
        assertRefused(server.post("/v1/completions", body.replace('\'', '"')), param.equals("n") ? null : param, mention);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '#', textBlock = """
            messages              | {}                                                                      | missing
            messages              | {'messages':null}                                                       | missing
            messages              | {'messages':[]}                                                         | empty
            messages              | {'messages':'hi'}                                                       | array
            messages[0]           | {'messages':[123]}                                                      | object
            messages[0].role      | {'messages':[{}]}                                                       | missing
            messages[0].role      | {'messages':[{'content':'x'}]}                                          | missing
            messages[0].role      | {'messages':[{'role':5,'content':'x'}]}                                 | string
            messages[0].content   | {'messages':[{'role':'user','content':5}]}                              | number 5
            messages[0].content   | {'messages':[{'role':'user'}]}                                          | missing
            messages[1].role      | {'messages':[{'role':'user','content':'x'},{}]}                         | missing
            messages[0].content[0] | {'messages':[{'role':'user','content':['x']}]}                         | object
            messages[0].content[0].type | {'messages':[{'role':'user','content':[{'type':'image_url'}]}]}   | text only
            messages[0].content[0].text | {'messages':[{'role':'user','content':[{'type':'text'}]}]}        | missing
            messages              | {'messages':[{'role':'function','content':'x'}]}                        | function
            messages[0].role      | {'messages':[{'role':'narrator','content':'x'}]}                        | system, developer, user, assistant, tool, function
            top_logprobs          | {'messages':[{'role':'user','content':'x'}],'logprobs':true,'top_logprobs':21} |
            top_logprobs          | {'messages':[{'role':'user','content':'x'}],'top_logprobs':2}           | logprobs
            logprobs              | {'messages':[{'role':'user','content':'x'}],'logprobs':5}               |
            max_completion_tokens | {'messages':[{'role':'user','content':'x'}],'max_completion_tokens':0}  |
            tools[0].function     | {'messages':[{'role':'user','content':'x'}],'tools':[{'type':'function'}]} | missing
            tools[0].type         | {'messages':[{'role':'user','content':'x'}],'tools':[{'type':'web_search'}]} | type function only
            tools[0].function.name | {'messages':[{'role':'user','content':'x'}],'tools':[{'type':'function','function':{'name':'a b'}}]} | letters
            tools[1].function.name | {'messages':[{'role':'user','content':'x'}],'tools':[{'type':'function','function':{'name':'a'}},{'type':'function','function':{'name':'a'}}]} | two tools
            tools[0].function.parameters | {'messages':[{'role':'user','content':'x'}],'tools':[{'type':'function','function':{'name':'a','parameters':5}}]} | schema
            tool_choice           | {'messages':[{'role':'user','content':'x'}],'tools':[{'type':'function','function':{'name':'a'}}],'tool_choice':'maybe'} | auto
            tool_choice.function.name | {'messages':[{'role':'user','content':'x'}],'tools':[{'type':'function','function':{'name':'a'}}],'tool_choice':{'type':'function','function':{'name':'b'}}} | has a
            tools                 | {'messages':[{'role':'user','content':'x'}],'tools':5}                  | array
            tools                 | {'messages':[{'role':'user','content':'x'}],'tools':[{'type':'function','function':{'name':'a'}}],'response_format':{'type':'json_object'}} | together
            structured_outputs.whitespace_pattern | {'messages':[{'role':'user','content':'x'}],'structured_outputs':{'regex':'a','whitespace_pattern':''}} | not supported
            tool_choice           | {'messages':[{'role':'user','content':'x'}],'tool_choice':'required'}   | without
            functions             | {'messages':[{'role':'user','content':'x'}],'functions':[{'name':'f'}]} | not supported
            modalities            | {'messages':[{'role':'user','content':'x'}],'modalities':['audio']}     | not supported
            audio                 | {'messages':[{'role':'user','content':'x'}],'audio':{}}                 | not supported
            chat_template         | {'messages':[{'role':'user','content':'x'}],'chat_template':'x'}        | not supported
            response_format.type  | {'messages':[{'role':'user','content':'x'}],'response_format':{'type':'sound'}} | sound
            response_format.json_schema.schema | {'messages':[{'role':'user','content':'x'}],'response_format':{'type':'json_schema','json_schema':{'schema':{'type':123}}}} | neither the name
            chat_template_kwargs  | {'messages':[{'role':'user','content':'x'}],'chat_template_kwargs':5}   |
            """)
    void chatBodies(String param, String body, String mention) {
        assertRefused(server.post("/v1/chat/completions", body.replace('\'', '"')), param.equals("messages") ? null : param, mention);
    }

    @ParameterizedTest
    @ValueSource(strings = {"{\"model\": \"x\", ", "[1,2]", "\"text\"", "5", "null", "", "{}{}", "{\"prompt\":NaN}", "{'prompt':'a'}",
        "\u0000", "{\"prompt\":\"\\ud8\"}"})
    void bodiesThatAreNotOneJsonObject(String body) {
        assertRefused(server.post("/v1/completions", body), null, null);
        assertRefused(server.post("/v1/chat/completions", body), null, null);
        assertRefused(server.post("/tokenize", body), null, null);
    }

    @ParameterizedTest
    @ValueSource(ints = {65, 10_000, 150_000})
    void hostileNestingIsRefusedNotFollowed(int depth) {
        assertRefused(server.post("/v1/completions", "{\"prompt\":" + "[".repeat(depth) + "]".repeat(depth) + "}"), null, null);
        assertRefused(server.post("/v1/completions", "{\"prompt\":" + "{\"a\":".repeat(depth) + "1" + "}".repeat(depth) + "}"), null, null);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", ",\"max_tokens\":1", ",\"stream\":true"})
    void promptOverTheContextSaysTheNumbers(String more) {
        HttpResponse<String> response = server.post("/v1/completions", "{\"prompt\":\"" + "x".repeat(299) + "\"" + more + "}");
        assertRefused(response, "prompt", "300 tokens");
        assertThat(response.body()).contains("context_length_exceeded", "256");
        HttpResponse<String> tooMuch = server.post("/v1/completions", "{\"prompt\":\"" + "x".repeat(199) + "\",\"max_tokens\":57}");
        assertRefused(tooMuch, "max_tokens", "at most 56");
        assertThat(tooMuch.body()).contains("context_length_exceeded");
    }

    /** A text that cannot fit is refused before the tokenizer, whose working memory it would multiply, sees it. */
    @ParameterizedTest
    @CsvSource({"/v1/completions,prompt", "/v1/chat/completions,messages", "/tokenize,prompt"})
    void textBeyondAnyTokenizationIsRefusedByItsBytes(String path, String param) {
        String text = "x".repeat(500_000);
        String body = param.equals("prompt") ? "{\"prompt\":\"" + text + "\"}"
                : "{\"messages\":[{\"role\":\"user\",\"content\":\"" + text + "\"}]}";
        HttpResponse<String> response = server.post(path, body);
        assertRefused(response, param, "bytes");
        assertThat(response.body()).contains("context_length_exceeded", "256 tokens", "at least 500");
    }
}
