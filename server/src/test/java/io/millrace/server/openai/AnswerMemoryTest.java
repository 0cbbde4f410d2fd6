package io.millrace.server.openai;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.millrace.engine.FakeEngine;
import io.millrace.engine.LoadedModel;
import io.millrace.server.openai.output.Dialect;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** Guards that no answer can fill the heap: what it may need is known before it is submitted, and all answers together stay in a bound. */
class AnswerMemoryTest {
    private static final RequestParser PARSER = parser();

    private static RequestParser parser() {
        FakeEngine engine = FakeEngine.builder().vocabSize(ByteTokenizer.VOCAB).maxModelLen(4096).build();
        return new RequestParser(new LoadedModel("tiny", engine, new ByteTokenizer(), Optional.empty(),
                LoadedModel.GenerationDefaults.none(), List.of(), List.of()), engine.limits(), List.of("tiny"), true, 1024, false,
                Dialect.of("", "auto", "auto"));
    }

    private static GenerateRequest request(String singleQuotedFields) {
        return PARSER.completion(("{'prompt':'" + "x".repeat(999) + "'," + singleQuotedFields + "}").replace('\'', '"')
                .getBytes(StandardCharsets.UTF_8));
    }

    @Test
    void plainTextReservesNothing() {
        assertThat(AnswerMemory.bytesOf(request("'max_tokens':3000,'n':128"))).isZero();
    }

    @Test
    void theBoundGrowsWithChoicesTokensAndAlternatives() {
        long one = AnswerMemory.bytesOf(request("'max_tokens':100,'logprobs':4"));
        assertThat(one).isGreaterThan(100 * 5 * 40);
        assertThat(AnswerMemory.bytesOf(request("'max_tokens':100,'logprobs':4,'n':10"))).isEqualTo(10 * one);
        assertThat(AnswerMemory.bytesOf(request("'max_tokens':1000,'logprobs':4"))).isEqualTo(10 * one);
        assertThat(AnswerMemory.bytesOf(request("'max_tokens':100,'logprobs':9"))).isEqualTo(2 * one);
        assertThat(AnswerMemory.bytesOf(request("'max_tokens':100,'logprobs':4,'echo':true"))).isGreaterThan(10 * one);
        assertThat(AnswerMemory.bytesOf(request("'max_tokens':100,'logprobs':4,'stream':true"))).isLessThan(one / 10);
    }

    @Test
    void whatNeverFitsIs400AndWhatDoesNotFitNowIs429() {
        GenerateRequest request = request("'max_tokens':100,'logprobs':4");
        long bytes = AnswerMemory.bytesOf(request);
        assertThatThrownBy(() -> new AnswerMemory(bytes - 1).reserve(request)).isInstanceOfSatisfying(ApiException.class, e -> {
            assertThat(e.status()).isEqualTo(400);
            assertThat(e.retryAfterSeconds()).isZero();
            assertThat(e).hasMessageContaining(Long.toString(bytes)).hasMessageContaining("fewer");
        });
        AnswerMemory memory = new AnswerMemory(2 * bytes - 1);
        AnswerMemory.Reservation first = memory.reserve(request);
        assertThatThrownBy(() -> memory.reserve(request)).isInstanceOfSatisfying(ApiException.class, e -> {
            assertThat(e.status()).isEqualTo(429);
            assertThat(e.retryAfterSeconds()).isPositive();
        });
        memory.reserve(request("'max_tokens':100")).close();
        first.close();
        first.close();
        memory.reserve(request).close();
        memory.reserve(request).close();
    }
}
