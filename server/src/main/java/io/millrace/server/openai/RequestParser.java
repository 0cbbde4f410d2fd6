package io.millrace.server.openai;

import com.fasterxml.jackson.databind.JsonNode;
import io.millrace.engine.EngineLimits;
import io.millrace.engine.LoadedModel;
import io.millrace.engine.LoadedModel.GenerationDefaults;
import io.millrace.engine.grammar.Constraint;
import io.millrace.engine.grammar.ConstraintSpec;
import io.millrace.engine.grammar.json.SchemaOptions;
import io.millrace.engine.text.Tokenizer;
import io.millrace.server.openai.output.Dialect;
import io.millrace.server.openai.output.OutputFormat;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;

/**
 * Request bodies to {@link GenerateRequest}s. Thread-safe; everything a client can get wrong is refused here with a 400 or 404 that names
 * the field, so that errors of a streaming request are plain HTTP errors too.
 */
public final class RequestParser {
    private static final int DEFAULT_COMPLETION_TOKENS = 16;
    private static final int MAX_SALT_LENGTH = 1024;
    private static final float MAX_TIMEOUT_SECONDS = 86_400;

    private final EngineLimits limits;
    private final Tokenizer tokenizer;
    private final PromptEncoder encoder;
    private final GenerationDefaults defaults;
    private final List<String> servedNames;
    private final int maxChoices;
    private final boolean priorities;
    private final ChatPrompts chatPrompts;
    private final Dialect dialect;
    private final StructuredOutput structured;

    /** @param useModelDefaults whether the model's generation_config.json gives the sampling defaults
     *  @param priorities       whether requests may have a priority
     *  @param dialect          how the model writes calls and thoughts */
    public RequestParser(LoadedModel model, EngineLimits limits, List<String> servedNames, boolean useModelDefaults, int maxChoices,
            boolean priorities, Dialect dialect) {
        this.limits = limits;
        this.tokenizer = model.tokenizer();
        this.defaults = useModelDefaults ? model.defaults() : GenerationDefaults.none();
        this.servedNames = servedNames;
        this.maxChoices = maxChoices;
        this.priorities = priorities;
        this.dialect = dialect;
        this.encoder = new PromptEncoder(tokenizer, limits.maxModelLen());
        this.structured = new StructuredOutput(model, limits);
        this.chatPrompts = new ChatPrompts(encoder, model.chatTemplate(), limits.vocabSize());
    }

    /** {@code POST /v1/completions}. */
    public GenerateRequest completion(byte[] body) {
        Fields fields = Fields.parse(body);
        String model = servedModel(fields);
        Unsupported.refuseCompletion(fields);
        Sampling sampling = Sampling.parse(fields, limits, defaults, structured.parse(fields));
        boolean echo = fields.flag("echo", false);
        OptionalInt explicit = fields.integer("max_tokens", 0, Integer.MAX_VALUE);
        int numLogprobs = fields.integer("logprobs", 0, limits.maxLogprobs()).orElse(-1);
        List<Prompt> prompts = prompts(fields, sampling.n());
        int[] maxTokens = new int[prompts.size()];
        for (int i = 0; i < maxTokens.length; i++) {
            maxTokens[i] = budget(prompts.get(i).ids().length, explicit, "max_tokens", DEFAULT_COMPLETION_TOKENS);
        }
        return request(fields, false, model, prompts, sampling, maxTokens, numLogprobs, echo ? numLogprobs : -1, echo, null);
    }

    /** {@code POST /v1/chat/completions}. */
    public GenerateRequest chat(byte[] body) {
        return chat(Fields.parse(body));
    }

    /** The same of a body that is parsed, or was written by this program for another protocol. */
    public GenerateRequest chat(Fields fields) {
        String model = servedModel(fields);
        Unsupported.refuseChat(fields);
        Tools tools = Tools.parse(fields);
        Sampling sampling = Sampling.parse(fields, limits, defaults, constraint(fields, tools));
        String limitName = fields.has("max_completion_tokens") ? "max_completion_tokens" : "max_tokens";
        OptionalInt explicit = fields.integer(limitName, 1, Integer.MAX_VALUE);
        int numLogprobs = chatLogprobs(fields);
        checkChoices(1, sampling.n());
        Prompt prompt = chatPrompts.parse(fields, tools);
        int[] maxTokens = {budget(prompt.ids().length, explicit, limitName, Integer.MAX_VALUE)};
        return request(fields, true, model, List.of(prompt), sampling, maxTokens, numLogprobs, -1, false,
                format(prompt, sampling, tools));
    }

    private Constraint constraint(Fields fields, Tools tools) {
        Constraint wished = structured.parse(fields);
        if (tools.forced().isEmpty()) {
            if (wished != null && !tools.schemas().isEmpty()) {
                throw ApiException.badRequest("tools", "`tools` that the model may call and a field that says what the text must be cannot be had together in"
                        + " this version, since a constrained text has no calls: send `tool_choice` \"none\" or leave one of them out.");
            }
            return wished;
        }
        if (wished != null) {
            throw ApiException.badRequest("tool_choice", "`tool_choice` demands a call, and another field says what the text must be: a request may"
                    + " have one of them.");
        }
        return structured.compile(new ConstraintSpec.JsonSchema(tools.callSchema(), SchemaOptions.REQUESTS.compact()), "tools");
    }

    /** A text that is constrained from its first token on has no thoughts, and a call that is demanded is written as plain JSON. */
    private OutputFormat format(Prompt prompt, Sampling sampling, Tools tools) {
        if (sampling.constraint() == null) {
            return dialect.format(prompt.text(), tools.schemas(), tools.parallel());
        }
        return tools.forced().isEmpty() ? null : OutputFormat.callsOnly(tools.forced(), tools.parallel());
    }

    /** {@code POST /tokenize}: the ids of a prompt or of rendered messages. */
    public int[] tokenize(Fields fields) {
        servedModel(fields);
        if (fields.has("messages")) {
            return chatPrompts.parse(fields, Tools.parse(fields)).ids();
        }
        String text = fields.string("prompt").orElseThrow(() -> ApiException.badRequest("prompt", "`prompt` or `messages` is missing."));
        return encoder.encode(text, fields.flag("add_special_tokens", true), "prompt");
    }

    /** {@code POST /detokenize}: the text of {@code tokens}. */
    public String detokenize(Fields fields) {
        servedModel(fields);
        JsonNode tokens = fields.get("tokens");
        if (tokens == null) {
            throw ApiException.badRequest("missing_parameter", "tokens", "`tokens` is missing.");
        }
        if (!tokens.isArray()) {
            throw fields.wrongType("tokens", tokens, "an array of token ids");
        }
        return tokenizer.decode(Sampling.tokenIds("tokens", tokens, limits.vocabSize()), false);
    }

    private GenerateRequest request(Fields fields, boolean chat, String model, List<Prompt> prompts, Sampling sampling, int[] maxTokens,
            int numLogprobs, int numPromptLogprobs, boolean echo, OutputFormat format) {
        boolean stream = fields.flag("stream", false);
        boolean includeUsage = false;
        boolean continuousUsage = false;
        if (fields.has("stream_options")) {
            if (!stream) {
                throw ApiException.badRequest("stream_options", "`stream_options` is given, but `stream` is not true.");
            }
            Fields options = Fields.of(fields.get("stream_options"), "stream_options");
            includeUsage = options.flag("include_usage", false);
            continuousUsage = includeUsage && options.flag("continuous_usage_stats", false);
        }
        return new GenerateRequest(chat, model, prompts, sampling, maxTokens, numLogprobs, numPromptLogprobs, echo, stream, includeUsage,
                continuousUsage, cacheSalt(fields), priority(fields), timeoutNanos(fields), format);
    }

    private static String cacheSalt(Fields fields) {
        String salt = fields.string("cache_salt").orElse(null);
        if (salt != null && (salt.isEmpty() || salt.length() > MAX_SALT_LENGTH)) {
            throw ApiException.badRequest("cache_salt", "`cache_salt` has " + salt.length() + " characters; 1 to " + MAX_SALT_LENGTH
                    + " are allowed.");
        }
        return salt;
    }

    private int priority(Fields fields) {
        int priority = fields.integer("priority", Integer.MIN_VALUE, Integer.MAX_VALUE).orElse(0);
        if (priority != 0 && !priorities) {
            throw ApiException.badRequest("priority", "`priority` is " + priority
                    + ", but this server does not serve by priority; it would have to be started with --scheduling-policy priority.");
        }
        return priority;
    }

    private static long timeoutNanos(Fields fields) {
        return (long) (fields.number("timeout", 0, true, MAX_TIMEOUT_SECONDS).orElse(0f) * 1e9);
    }

    private String servedModel(Fields fields) {
        String name = fields.string("model").orElse(servedNames.getFirst());
        if (!servedNames.contains(name)) {
            throw unknownModel(name, servedNames);
        }
        return name;
    }

    public static ApiException unknownModel(String name, List<String> served) {
        return ApiException.notFound("model_not_found", "model",
                "The model `" + Fields.clip(name) + "` does not exist; this server has " + String.join(", ", served) + ".");
    }

    private int chatLogprobs(Fields fields) {
        boolean wanted = fields.flag("logprobs", false);
        OptionalInt top = fields.integer("top_logprobs", 0, limits.maxLogprobs());
        if (!wanted && top.orElse(0) > 0) {
            throw ApiException.badRequest("top_logprobs", "`top_logprobs` is " + top.getAsInt() + ", but `logprobs` is not true.");
        }
        return wanted ? top.orElse(0) : -1;
    }

    /** Output tokens that a prompt may have: what was asked for if it fits, else the default or what the context leaves. */
    private int budget(int promptTokens, OptionalInt explicit, String limitName, int otherwise) {
        int room = limits.maxModelLen() - promptTokens;
        if (room < 0 || room == 0 && explicit.orElse(1) > 0) {
            throw tooLong("prompt", "The prompt has " + promptTokens + " tokens, but the context of this model is " + limits.maxModelLen()
                    + " tokens, prompt and answer together; shorten the prompt.");
        }
        if (explicit.isPresent() && explicit.getAsInt() > room) {
            throw tooLong(limitName, "The prompt has " + promptTokens + " tokens and `" + limitName + "` is " + explicit.getAsInt()
                    + ": together more than this model's context of " + limits.maxModelLen() + " tokens; at most " + room
                    + " tokens can be generated.");
        }
        return explicit.orElse(Math.min(otherwise, room));
    }

    private static ApiException tooLong(String param, String message) {
        return ApiException.badRequest("context_length_exceeded", param, message);
    }

    /** All four forms: text, texts, ids, lists of ids. */
    private List<Prompt> prompts(Fields fields, int n) {
        JsonNode prompt = fields.get("prompt");
        if (prompt == null) {
            throw ApiException.badRequest("missing_parameter", "prompt", "`prompt` is missing.");
        }
        boolean special = fields.flag("add_special_tokens", true);
        if (prompt.isTextual()) {
            checkChoices(1, n);
            return List.of(textPrompt(prompt, special));
        }
        if (!prompt.isArray()) {
            throw fields.wrongType("prompt", prompt, "a string, an array of strings, an array of token ids or an array of those");
        }
        if (prompt.isEmpty()) {
            throw ApiException.badRequest("prompt", "`prompt` is an empty array; at least one prompt is needed.");
        }
        JsonNode first = prompt.get(0);
        if (first.isIntegralNumber()) {
            checkChoices(1, n);
            return List.of(idPrompt(prompt));
        }
        checkChoices(prompt.size(), n);
        List<Prompt> prompts = new ArrayList<>(prompt.size());
        for (JsonNode item : prompt) {
            if (item.getNodeType() != first.getNodeType() || !item.isTextual() && !item.isArray()) {
                throw fields.wrongType("prompt", item, "made of strings only, or of token ids only, or of arrays of token ids only");
            }
            prompts.add(item.isTextual() ? textPrompt(item, special) : idPrompt(item));
        }
        return prompts;
    }

    private Prompt textPrompt(JsonNode text, boolean special) {
        int[] ids = encoder.encode(text.textValue(), special, "prompt");
        if (ids.length == 0) {
            throw ApiException.badRequest("prompt", "`prompt` is an empty text; at least one token is needed.");
        }
        Prompt.requireInVocabulary("prompt", ids, limits.vocabSize());
        return new Prompt(ids, text.textValue());
    }

    private Prompt idPrompt(JsonNode list) {
        if (list.isEmpty()) {
            throw ApiException.badRequest("prompt", "`prompt` has an empty array of token ids; at least one token is needed.");
        }
        encoder.checkLength(list.size());
        int[] ids = Sampling.tokenIds("prompt", list, limits.vocabSize());
        return new Prompt(ids, tokenizer.decode(ids, true));
    }

    private void checkChoices(int prompts, int n) {
        if ((long) prompts * n > maxChoices) {
            throw ApiException.badRequest(prompts > 1 ? "prompt" : "n", prompts + " prompts with `n` = " + n + " are "
                    + (long) prompts * n + " choices; a request may have " + maxChoices + ".");
        }
    }
}
