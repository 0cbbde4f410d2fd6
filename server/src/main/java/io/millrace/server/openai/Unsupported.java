package io.millrace.server.openai;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import java.util.function.Predicate;

/**
 * Fields that would change the answer and that this version does not act on. Ignoring them in silence would give the client something
 * else than it asked for, so any value that is not the field's "off" is refused by name.
 */
final class Unsupported {
    private record Field(String name, Predicate<JsonNode> off, String remedy) {}

    private static final Predicate<JsonNode> FALSE = value -> value.isBoolean() && !value.booleanValue();
    private static final Predicate<JsonNode> NEVER = value -> false;
    private static final Predicate<JsonNode> EMPTY = value -> value.isEmpty() && (value.isContainerNode() || value.asText().isEmpty());

    private static final List<Field> COMMON = List.of(
            new Field("best_of", value -> value.isInt() && value.intValue() == 1, "ask for n choices and choose among them"),
            new Field("use_beam_search", FALSE, "beam search is not supported; sample with temperature instead"),
            new Field("length_penalty", value -> value.isNumber() && value.doubleValue() == 1, "it belongs to beam search"),
            new Field("prompt_embeds", NEVER, "send text or token ids"),
            new Field("guided_whitespace_pattern", NEVER, "space between the tokens of JSON is bounded as it is"),
            new Field("bad_words", EMPTY, "use logit_bias of -100 for single tokens"),
            new Field("allowed_token_ids", NEVER, "use logit_bias"),
            new Field("logits_processors", EMPTY, "server-side code from requests is never run"),
            new Field("logprob_token_ids", EMPTY, "use logprobs with alternatives"),
            new Field("truncate_prompt_tokens", NEVER, "shorten the prompt before sending it"),
            new Field("return_token_ids", FALSE, "POST /tokenize gives the ids of a text"),
            new Field("return_tokens_as_token_ids", FALSE, "logprobs name tokens by their text"),
            new Field("repetition_detection", NEVER, "use stop or a penalty"),
            new Field("lora_request", NEVER, "adapters are not supported by this version"),
            new Field("spaces_between_special_tokens", value -> value.isBoolean() && value.booleanValue(),
                    "special tokens are written as the tokenizer decodes them"));

    private static final List<Field> COMPLETION = List.of(
            new Field("suffix", EMPTY, "insertion is not supported; send the prompt only"));

    private static final List<Field> CHAT = List.of(
            new Field("audio", NEVER, "this server gives text only"),
            new Field("echo", FALSE, "use /v1/completions for echo"),
            new Field("chat_template", NEVER, "templates of requests are never run; configure the model's own"),
            new Field("documents", EMPTY, "put the documents into a message"),
            new Field("functions", EMPTY, "its successor is `tools`"),
            new Field("function_call", value -> value.asText().equals("none"), "its successor is `tool_choice`"),
            new Field("web_search_options", NEVER, "this server does not search"),
            new Field("thinking_token_budget", NEVER, "limit the answer with max_completion_tokens"),
            new Field("modalities", value -> value.isArray() && value.size() == 1 && value.get(0).asText().equals("text"),
                    "this server gives text only"));

    private Unsupported() {}

    static void refuseCompletion(Fields fields) {
        refuse(fields, COMMON);
        refuse(fields, COMPLETION);
    }

    static void refuseChat(Fields fields) {
        refuse(fields, COMMON);
        refuse(fields, CHAT);
    }

    private static void refuse(Fields fields, List<Field> list) {
        for (Field field : list) {
            JsonNode value = fields.get(field.name);
            if (value != null && !field.off.test(value)) {
                throw ApiException.unsupported(field.name, "`" + field.name + "` is not supported by this version: " + field.remedy + ".");
            }
        }
    }

}
