package io.millrace.engine.text;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Guards: from a damaged template nothing but {@link ChatTemplateException} escapes, and none runs past the bounds. */
class ChatTemplateFuzzTest {
    private static final int NUM_MUTANTS = 4000;
    private static final String[] FRAGMENTS = {"{%", "%}", "{{", "}}", "{#", "#}", "-", "|", "(", ")", "[", "]", "{", "}", "'", "\"", "\\", ".",
        ",", ":", "=", "~", "*", "**", "%", "//", " if ", " else ", " not ", " in ", " is ", "{% endif %}", "{% endfor %}", "{% else %}",
        "{% for x in messages %}", "{% set ns.x = messages %}", "|tojson", "|length", "|join", "|sort", "|map('upper')", "|int", "[::-1]", "[0]", "none",
        "999999999999", "1e308", "\uD800", "\0", "{% raw %}", "{% macro m(a) %}", "loop", "namespace()", ".items()", ".split('')", "|indent"};

    @Test
    @SuppressWarnings("unchecked")
    void damagedTemplatesFailCleanly() throws IOException {
        Path folder = TestTokenizers.data("templates");
        List<String> sources = new ArrayList<>();
        try (Stream<Path> files = Files.list(folder.resolve("jinja"))) {
            for (Path file : files.sorted().toList()) {
                sources.add(Files.readString(file));
            }
        }
        TestTokenizers.lines(folder.resolve("jinja_features.jsonl")).forEach(golden -> sources.add(golden.get("template").asText()));
        List<JsonNode> conversations = new ArrayList<>();
        TestTokenizers.JSON.readTree(folder.resolve("conversations.json").toFile()).forEach(conversations::add);
        Random random = new Random(20260115);
        int numRendered = 0;
        long slowestNanos = 0;
        for (int round = 0; round < NUM_MUTANTS; round++) {
            String source = mutated(sources.get(random.nextInt(sources.size())), random);
            JsonNode conversation = conversations.get(random.nextInt(conversations.size()));
            Map<String, Object> variables = TestTokenizers.JSON.convertValue(conversation, Map.class);
            long begin = System.nanoTime();
            try {
                ChatTemplates.compile(source, Map.of("bos_token", "<s>")).render((List<Map<String, Object>>) variables.get("messages"), null, true, variables);
                numRendered++;
            } catch (ChatTemplateException expected) {
                assertThat(expected.getMessage()).isNotNull();
            } catch (RuntimeException | Error unexpected) {
                throw new AssertionError("round " + round + " let this escape: " + unexpected + "\n" + source, unexpected);
            }
            slowestNanos = Math.max(slowestNanos, System.nanoTime() - begin);
        }
        System.out.printf("template fuzzing: %d mutants, %d rendered, slowest %d ms%n", NUM_MUTANTS, numRendered, slowestNanos / 1_000_000);
        assertThat(numRendered).isPositive();
        assertThat(slowestNanos).isLessThan(20_000_000_000L);
    }

    private static String mutated(String source, Random random) {
        StringBuilder text = new StringBuilder(source);
        for (int i = random.nextInt(4); i >= 0; i--) {
            int at = random.nextInt(text.length() + 1);
            switch (random.nextInt(4)) {
                case 0 -> text.insert(at, FRAGMENTS[random.nextInt(FRAGMENTS.length)]);
                case 1 -> text.delete(at, Math.min(text.length(), at + 1 + random.nextInt(8)));
                case 2 -> text.insert(at, text.substring(at, Math.min(text.length(), at + random.nextInt(40))));
                default -> {
                    if (at < text.length()) {
                        text.setCharAt(at, (char) (random.nextInt(8) == 0 ? random.nextInt(0x10000) : 32 + random.nextInt(95)));
                    }
                }
            }
        }
        return text.toString();
    }
}
