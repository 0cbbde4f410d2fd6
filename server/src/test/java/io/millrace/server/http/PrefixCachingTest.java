package io.millrace.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.http.HttpResponse;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Property: clients are told how much of their prompt was found, by whole answers and streams, and share nothing across {@code cache_salt}. */
class PrefixCachingTest {
    private static final String PATH = "/v1/completions";
    /** A token per letter: three full blocks and more. */
    private static final String PROMPT = "a prompt that is as long as several blocks of the KV cache, no";

    private static int cached(JsonNode usage) {
        return usage.at("/prompt_tokens_details/cached_tokens").intValue();
    }

    @Test
    void usageCountsWhatWasFoundAndSaltsKeepTenantsApart() {
        try (TestServer server = new TestServer()) {
            int numPrompt = 0;
            int[] found = new int[5];
            String[] salts = {"", ",'cache_salt':'red'", "", ",'cache_salt':'red'", ",'cache_salt':'blue'"};
            String text = null;
            for (int i = 0; i < salts.length; i++) {
                JsonNode answer = server.ok(PATH, "{'prompt':'" + PROMPT + "','max_tokens':20,'temperature':0" + salts[i] + "}");
                found[i] = cached(answer.get("usage"));
                numPrompt = answer.at("/usage/prompt_tokens").intValue();
                text = text == null ? answer.at("/choices/0/text").textValue() : text;
                assertThat(answer.at("/choices/0/text").textValue()).isEqualTo(text);
            }
            int full = (numPrompt - 1) / 16 * 16;
            assertThat(full).isPositive();
            assertThat(found).containsExactly(0, 0, full, full, 0);
            List<JsonNode> events = server.stream(PATH, "{'prompt':'" + PROMPT
                    + "','max_tokens':3,'stream':true,'stream_options':{'include_usage':true}}");
            assertThat(cached(events.getLast().get("usage"))).isEqualTo(full);
        }
    }

    @Test
    void choicesShareTheirPromptAndItsUsageCountsIt() {
        try (TestServer server = new TestServer()) {
            String body = "{'prompt':'" + PROMPT + "','n':4,'max_tokens':1}";
            long before = server.engine.numComputedTokens();
            JsonNode first = server.ok(PATH, body);
            int numPrompt = first.at("/usage/prompt_tokens").intValue();
            int tail = numPrompt - (numPrompt - 1) / 16 * 16;
            assertThat(cached(first.get("usage"))).as("nothing was there").isZero();
            assertThat(server.engine.numComputedTokens() - before).isEqualTo(numPrompt + 3L * tail);
            assertThat(cached(server.ok(PATH, body).get("usage"))).isEqualTo(numPrompt - tail);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"''", "5", "'LONG'"})
    void saltsOfOddFormAreRefused(String salt) {
        try (TestServer server = new TestServer()) {
            HttpResponse<String> answer = server.post(PATH,
                    "{'prompt':'hi','cache_salt':".replace('\'', '"') + salt.replace("LONG", "x".repeat(1025)).replace('\'', '"') + "}");
            assertThat(answer.statusCode()).isEqualTo(400);
            assertThat(answer.body()).contains("cache_salt");
        }
    }
}
