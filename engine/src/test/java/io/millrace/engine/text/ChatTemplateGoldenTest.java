package io.millrace.engine.text;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.millrace.engine.text.jinja.JinjaException;
import io.millrace.engine.text.jinja.JinjaTemplate;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Guards: templates that people use render to the character as Jinja2 does under HF transformers, and fail where it fails. */
class ChatTemplateGoldenTest {
    private static final Clock CLOCK = Clock.fixed(Instant.parse("2026-01-15T09:05:07Z"), ZoneOffset.UTC);
    private static final Map<String, Object> TOKENS = Map.of("bos_token", "<s>", "eos_token", "</s>");

    /** Two cases were recorded after the rendering had already popped from their list; this is what they began with. */
    private static final Map<String, List<String>> POPPED = Map.of(
            "array.pop() last", List.of("a", "b", "c"), "array.pop() with index", List.of("a", "b", "c"));

    @Test
    void everyRenderingOfEveryTemplateMatches() throws IOException {
        Path folder = TestTokenizers.data("templates");
        JsonNode conversations = TestTokenizers.JSON.readTree(folder.resolve("conversations.json").toFile());
        List<String> differences = new ArrayList<>();
        int numCases = 0;
        for (JsonNode golden : TestTokenizers.lines(folder.resolve("renderings.jsonl"))) {
            String name = golden.get("template").asText();
            JsonNode conversation = conversations.get(golden.get("conversation").asText());
            ChatTemplate template = ChatTemplates.compile(Files.readString(folder.resolve(name)), TOKENS, CLOCK);
            compare(name + " " + golden.get("conversation").asText(), golden, () -> render(template, conversation), differences);
            numCases++;
        }
        System.out.println("chat template renderings: " + (numCases - differences.size()) + " of " + numCases + " match");
        assertThat(differences).isEmpty();
        assertThat(numCases).isEqualTo(288);
    }

    @Test
    void everyFeatureCaseMatches() {
        List<String> differences = new ArrayList<>();
        int numCases = 0;
        for (JsonNode golden : TestTokenizers.lines(TestTokenizers.data("templates/jinja_features.jsonl"))) {
            Map<String, Object> variables = toMap(golden.get("vars"));
            if (POPPED.containsKey(golden.get("name").asText())) {
                variables.put("arr", POPPED.get(golden.get("name").asText()));
            }
            compare(golden.get("template").asText(), golden, () -> {
                try {
                    return JinjaTemplate.compile(golden.get("template").asText(), CLOCK).render(variables);
                } catch (JinjaException e) {
                    throw new ChatTemplateException(e.getMessage());
                }
            }, differences);
            numCases++;
        }
        System.out.println("jinja feature cases: " + (numCases - differences.size()) + " of " + numCases + " match");
        assertThat(differences).isEmpty();
        assertThat(numCases).isEqualTo(264);
    }

    private static String render(ChatTemplate template, JsonNode conversation) {
        Map<String, Object> extra = toMap(((ObjectNode) conversation.deepCopy()).without(List.of("messages", "tools", "add_generation_prompt")));
        return template.render(toList(conversation.get("messages")), conversation.has("tools") ? toList(conversation.get("tools")) : null,
                conversation.get("add_generation_prompt").asBoolean(), extra);
    }

    /** Errors must be errors; their text must end as Jinja2's, which matters most for {@code raise_exception}. */
    private static void compare(String name, JsonNode golden, java.util.function.Supplier<String> rendering, List<String> differences) {
        String actual;
        boolean failed = false;
        try {
            actual = rendering.get();
        } catch (ChatTemplateException e) {
            actual = e.getMessage();
            failed = true;
        }
        String expected = golden.path(golden.has("error") ? "message" : "text").asText();
        boolean isRaised = golden.path("error").asText().equals("TemplateError");
        boolean matches = failed == golden.has("error") && (failed && !isRaised ? actual.endsWith(expected) : actual.equals(expected));
        if (!matches) {
            differences.add(name + "\n  expected " + golden.path("error").asText() + " " + TestTokenizers.JSON.valueToTree(expected) + "\n  but was  "
                    + (failed ? "error " : " ") + TestTokenizers.JSON.valueToTree(actual));
        }
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> toMap(JsonNode node) {
        return TestTokenizers.JSON.convertValue(node, HashMap.class);
    }

    @SuppressWarnings("unchecked")
    private static List<Map<String, Object>> toList(JsonNode node) {
        return TestTokenizers.JSON.convertValue(node, List.class);
    }
}
