package io.millrace.engine.text;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.millrace.engine.EngineException;
import io.millrace.engine.text.jinja.JinjaException;
import io.millrace.engine.text.jinja.JinjaTemplate;
import io.millrace.engine.weights.GgufArray;
import io.millrace.engine.weights.GgufFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Finds and compiles a model's chat template: {@code chat_template.jinja}, else {@code chat_template.json}, else {@code chat_template} in
 * {@code tokenizer_config.json}, which may be a list of named templates ("default", and "tool_use" for requests with tools).
 *
 * <p>A template sees {@code messages}, {@code tools} and {@code documents} (none where absent), {@code add_generation_prompt}, the request's
 * extra variables and the special tokens ({@code bos_token}, {@code eos_token}, ...) of {@code tokenizer_config.json}. Messages are passed
 * as they are: whoever calls joins the text parts of a content list first if the template expects strings. A null content is none.
 */
public final class ChatTemplates {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final long MAX_CONFIG_BYTES = 16L << 20;
    private static final String DEFAULT = "default";
    private static final String TOOL_USE = "tool_use";

    private ChatTemplates() {}

    /**
     * @return empty where the folder has no template, a {@link BrokenChatTemplate} (TPL-002) where it does not compile
     * @throws EngineException TPL-001 a file is unreadable
     */
    public static Optional<ChatTemplate> load(Path folder) {
        JsonNode config = readJson(folder.resolve("tokenizer_config.json"));
        Map<String, String> sources = sources(folder, config);
        if (sources.isEmpty()) {
            return Optional.empty();
        }
        Map<String, Object> specialTokens = specialTokens(readJson(folder.resolve("special_tokens_map.json")));
        specialTokens.putAll(specialTokens(config));
        Map<String, ChatTemplate> compiled = new LinkedHashMap<>();
        sources.forEach((name, source) -> {
            try {
                compiled.put(name, compile(source, specialTokens));
            } catch (ChatTemplateException e) {
                compiled.put(name, new BrokenChatTemplate("the chat template '" + name + "' does not compile: " + e.getMessage()
                        + "; mend it in the model's folder"));
            }
        });
        ChatTemplate fallback = compiled.getOrDefault(DEFAULT, compiled.values().iterator().next());
        ChatTemplate withTools = compiled.getOrDefault(TOOL_USE, fallback);
        return Optional.of(fallback == withTools ? fallback : new Pair(fallback, withTools));
    }

    /** Two templates of one model, of which the second is for requests with tools. */
    private record Pair(ChatTemplate plain, ChatTemplate withTools) implements ChatTemplate {
        @Override
        public String render(List<Map<String, Object>> messages, List<Map<String, Object>> tools, boolean addGenerationPrompt,
                Map<String, Object> extra) {
            return (tools == null || tools.isEmpty() ? plain : withTools).render(messages, tools, addGenerationPrompt, extra);
        }

        @Override
        public String source() {
            return withTools.source() + plain.source();
        }
    }

    /** The template in a GGUF file's metadata ({@code tokenizer.chat_template}); errors as {@link #load}. */
    public static Optional<ChatTemplate> of(GgufFile file) {
        Optional<String> source = file.metadata().string("tokenizer.chat_template");
        GgufArray.Strings tokens = file.metadata().stringArray("tokenizer.ggml.tokens").orElse(null);
        Map<String, Object> specialTokens = new HashMap<>();
        for (String name : List.of("bos", "eos", "unk", "pad")) {
            String key = "tokenizer.ggml." + switch (name) {
                case "unk" -> "unknown";
                case "pad" -> "padding";
                default -> name;
            } + "_token_id";
            file.metadata().integer(key).filter(id -> tokens != null && id >= 0 && id < tokens.size())
                    .ifPresent(id -> specialTokens.put(name + "_token", tokens.get(id.intValue())));
        }
        try {
            return source.map(text -> compile(text, specialTokens));
        } catch (ChatTemplateException e) {
            return Optional.of(new BrokenChatTemplate("the chat template in the file's metadata does not compile: " + e.getMessage()
                    + "; use another version of the file"));
        }
    }

    /**
     * @param specialTokens variables such as {@code bos_token}
     * @throws ChatTemplateException if the source does not compile
     */
    public static ChatTemplate compile(String source, Map<String, Object> specialTokens) {
        return compile(source, specialTokens, Clock.systemDefaultZone());
    }

    static ChatTemplate compile(String source, Map<String, Object> specialTokens, Clock clock) {
        Map<String, Object> tokens = Map.copyOf(specialTokens);
        JinjaTemplate template;
        try {
            template = JinjaTemplate.compile(source, clock);
        } catch (JinjaException e) {
            throw new ChatTemplateException(e.getMessage());
        }
        return new Compiled(source, template, tokens);
    }

    private record Compiled(String source, JinjaTemplate template, Map<String, Object> specialTokens) implements ChatTemplate {
        @Override
        public String render(List<Map<String, Object>> messages, List<Map<String, Object>> tools, boolean addGenerationPrompt,
                Map<String, Object> extra) {
            Map<String, Object> variables = new HashMap<>(specialTokens);
            variables.put("documents", null);
            variables.putAll(extra);
            variables.put("messages", messages);
            variables.put("tools", tools);
            variables.put("add_generation_prompt", addGenerationPrompt);
            try {
                return template.render(variables);
            } catch (JinjaException e) {
                throw new ChatTemplateException(e.kind() == JinjaException.Kind.RAISED ? e.getMessage()
                        : "the model's chat template cannot render these messages: " + e.getMessage());
            }
        }
    }

    private static Map<String, String> sources(Path folder, JsonNode config) {
        Path file = folder.resolve("chat_template.jinja");
        if (Files.isRegularFile(file)) {
            return Map.of(DEFAULT, read(file));
        }
        JsonNode separate = readJson(folder.resolve("chat_template.json")).path("chat_template");
        return named(separate.isMissingNode() ? config.path("chat_template") : separate);
    }

    private static Map<String, String> named(JsonNode template) {
        if (template.isTextual()) {
            return Map.of(DEFAULT, template.asText());
        }
        Map<String, String> sources = new LinkedHashMap<>();
        for (JsonNode entry : template) {
            if (entry.path("template").isTextual()) {
                sources.put(entry.path("name").asText(DEFAULT), entry.path("template").asText());
            }
        }
        return sources;
    }

    /** Strings or AddedToken objects; what is null stays undefined, as in HF transformers. */
    private static Map<String, Object> specialTokens(JsonNode config) {
        Map<String, Object> tokens = new HashMap<>();
        config.properties().forEach(field -> {
            JsonNode value = field.getValue().isObject() ? field.getValue().path("content") : field.getValue();
            if (field.getKey().endsWith("_token") && value.isTextual()) {
                tokens.put(field.getKey(), value.asText());
            }
        });
        if (config.path("additional_special_tokens") instanceof JsonNode additional && additional.isArray()) {
            List<String> texts = additional.valueStream().map(node -> node.isObject() ? node.path("content").asText() : node.asText()).toList();
            tokens.put("additional_special_tokens", texts);
        }
        return tokens;
    }

    /** A missing node for a missing file. */
    private static JsonNode readJson(Path file) {
        if (!Files.isRegularFile(file)) {
            return JSON.missingNode();
        }
        try {
            return JSON.readTree(read(file));
        } catch (IOException e) {
            throw new EngineException("TPL-001", file + " is not JSON: " + e.getMessage().lines().findFirst().orElse("")
                    + "; download it again", e);
        }
    }

    private static String read(Path file) {
        try {
            if (Files.size(file) > MAX_CONFIG_BYTES) {
                throw new EngineException("TPL-001", file + " has " + Files.size(file) + " bytes, the limit is " + MAX_CONFIG_BYTES
                        + "; check that it is the right file");
            }
            return Files.readString(file);
        } catch (IOException e) {
            throw new EngineException("TPL-001", file + " cannot be read: " + e.getMessage() + "; download it again as UTF-8 text", e);
        }
    }
}
