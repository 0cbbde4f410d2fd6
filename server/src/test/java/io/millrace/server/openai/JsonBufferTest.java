package io.millrace.server.openai;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/** Guards that whatever text a model makes becomes valid JSON in valid UTF-8 that spells the same text. */
class JsonBufferTest {
    private static final ObjectMapper MAPPER = new ObjectMapper();

    @Test
    void anyTextSurvives() throws IOException {
        SplittableRandom random = new SplittableRandom(4);
        JsonBuffer json = new JsonBuffer(4);
        for (int round = 0; round < 5000; round++) {
            StringBuilder text = new StringBuilder();
            for (int i = random.nextInt(20); i > 0; i--) {
                text.appendCodePoint(switch (random.nextInt(4)) {
                    case 0 -> random.nextInt(0x80);
                    case 1 -> random.nextInt(0x800);
                    case 2 -> random.nextInt(0xD800);
                    default -> 0x10000 + random.nextInt(0x100000);
                });
            }
            json.clear();
            json.raw("[").string(text).raw("]");
            assertThat(MAPPER.readTree(json.toByteArray()).get(0).textValue()).isEqualTo(text.toString());
        }
    }

    @Test
    void halfCharactersBecomeTheReplacementCharacter() throws IOException {
        Map<String, String> halves = Map.of("\uD83D", "\uFFFD", "a\uD83Db", "a\uFFFDb", "\uDE00", "\uFFFD", "\uDE00\uD83D", "\uFFFD\uFFFD");
        for (Map.Entry<String, String> half : halves.entrySet()) {
            byte[] json = new JsonBuffer(4).string(half.getKey()).toByteArray();
            StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(json));
            assertThat(MAPPER.readTree(json).textValue()).isEqualTo(half.getValue());
        }
    }

    @Test
    void numbersAreFinite() throws IOException {
        float[] values = {0f, -0.5f, -1e-7f, -123.456f, Float.NEGATIVE_INFINITY, Float.POSITIVE_INFINITY, Float.NaN, -1e30f};
        double[] expected = {0, -0.5, -1e-7f, -123.456f, -9999, 9999, -9999, -9999};
        for (int i = 0; i < values.length; i++) {
            assertThat((float) MAPPER.readTree(new JsonBuffer(4).number(values[i]).toByteArray()).doubleValue()).isEqualTo((float) expected[i]);
        }
        assertThat(new String(new JsonBuffer(1).number(-7).number(0).number(1234567890123L).toByteArray(), StandardCharsets.US_ASCII))
                .isEqualTo("-701234567890123");
    }

    @Test
    void errorsHaveAllFourKeys() throws IOException {
        JsonBuffer json = new JsonBuffer(16);
        ApiException.badRequest("n", "say \"n\"").writeTo(json);
        assertThat(MAPPER.readTree(json.toByteArray())).isEqualTo(MAPPER.readTree(
                "{\"error\":{\"message\":\"say \\\"n\\\"\",\"type\":\"invalid_request_error\",\"param\":\"n\",\"code\":\"invalid_value\"}}"));
    }
}
