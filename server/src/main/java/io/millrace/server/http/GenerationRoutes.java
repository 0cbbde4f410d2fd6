package io.millrace.server.http;

import io.helidon.webserver.CloseConnectionException;
import io.millrace.engine.EngineLimits;
import io.millrace.engine.text.Tokenizer;
import io.millrace.scheduler.GenerationService;
import io.millrace.server.anthropic.MessageStream;
import io.millrace.server.anthropic.MessagesRequest;
import io.millrace.server.anthropic.WholeMessage;
import io.millrace.server.openai.Answer;
import io.millrace.server.openai.AnswerMemory;
import io.millrace.server.openai.ApiException;
import io.millrace.server.openai.Fields;
import io.millrace.server.openai.GenerateRequest;
import io.millrace.server.openai.Generation;
import io.millrace.server.openai.JsonBuffer;
import io.millrace.server.openai.RequestParser;
import io.millrace.server.openai.Seeds;
import io.millrace.server.openai.StreamAnswer;
import io.millrace.server.openai.WholeAnswer;
import io.millrace.server.responses.ResponseHead;
import io.millrace.server.responses.ResponseStream;
import io.millrace.server.responses.ResponsesRequest;
import io.millrace.server.responses.WholeResponse;
import io.millrace.telemetry.HttpMetrics;
import java.util.function.Function;
import java.util.function.LongSupplier;

/** The routes that run the model or its tokenizer. */
final class GenerationRoutes {
    private final HttpServerConfig config;
    private final GenerationService service;
    private final EngineLimits limits;
    private final Tokenizer tokenizer;
    private final RequestParser parser;
    private final long maxBodyBytes;
    private final Intake intake;
    private final AnswerMemory memory;
    private final HttpMetrics metrics;
    private final LongSupplier freshSeeds;

    GenerationRoutes(HttpServerConfig config, GenerationService service, Tokenizer tokenizer, RequestParser parser,
            HttpMetrics metrics) {
        this.config = config;
        this.service = service;
        this.limits = service.limits();
        this.tokenizer = tokenizer;
        this.parser = parser;
        this.metrics = metrics;
        this.freshSeeds = Seeds.fresh(config.baseSeed());
        this.maxBodyBytes = config.maxBodyBytesFor(limits.maxModelLen());
        this.intake = new Intake(Math.max(config.maxHeldBodyBytes(), maxBodyBytes), maxBodyBytes, Runtime.getRuntime().maxMemory());
        this.memory = new AnswerMemory(config.answerMemoryBytes());
    }

    long heldBodyBytes() {
        return intake.heldBytes();
    }

    void completions(Exchange exchange) {
        answer(exchange, parser::completion);
    }

    void chatCompletions(Exchange exchange) {
        answer(exchange, parser::chat);
    }

    void tokenize(Exchange exchange) {
        record Request(int[] ids, boolean withStrings) {}
        Request request = read(exchange, body -> {
            Fields fields = Fields.parse(body);
            return new Request(parser.tokenize(fields), fields.flag("return_token_strs", false));
        });
        int[] ids = request.ids;
        JsonBuffer json = new JsonBuffer(64 + 6 * ids.length).raw("{\"count\":").number(ids.length)
                .raw(",\"max_model_len\":").number(limits.maxModelLen()).raw(",\"tokens\":[");
        for (int i = 0; i < ids.length; i++) {
            json.raw(i == 0 ? "" : ",").number(ids[i]);
        }
        json.raw("]");
        if (request.withStrings) {
            json.raw(",\"token_strs\":[");
            for (int i = 0; i < ids.length; i++) {
                json.raw(i == 0 ? "" : ",").string(tokenizer.piece(ids[i]));
            }
            json.raw("]");
        }
        exchange.sendJson(json.raw("}"));
    }

    void detokenize(Exchange exchange) {
        String text = read(exchange, body -> parser.detokenize(Fields.parse(body)));
        exchange.sendJson(new JsonBuffer(64 + text.length()).raw("{\"prompt\":").string(text).raw("}"));
    }

    /** Anthropic's {@code POST /v1/messages}. */
    void messages(Exchange exchange) {
        answer(exchange, body -> parser.chat(MessagesRequest.toChat(Fields.parse(body), true)), WholeMessage::new, MessageStream::new);
    }

    /** Anthropic's {@code POST /v1/messages/count_tokens}. */
    void countTokens(Exchange exchange) {
        int count = read(exchange, body -> parser.tokenize(MessagesRequest.toChat(Fields.parse(body), false)).length);
        exchange.sendJson(new JsonBuffer(32).raw("{\"input_tokens\":").number(count).raw("}"));
    }

    /** {@code POST /v1/responses}. */
    void responses(Exchange exchange) {
        record Request(GenerateRequest chat, ResponseHead head) {}
        Request request = read(exchange, body -> {
            Fields fields = Fields.parse(body);
            return new Request(parser.chat(ResponsesRequest.toChat(fields)), ResponseHead.of(fields));
        });
        answer(exchange, request.chat, generation -> new WholeResponse(generation, request.head),
                generation -> new ResponseStream(generation, request.head));
    }

    private void answer(Exchange exchange, Function<byte[], GenerateRequest> parse) {
        answer(exchange, parse, generation -> new WholeAnswer(generation, tokenizer), generation -> new StreamAnswer(generation, tokenizer));
    }

    private void answer(Exchange exchange, Function<byte[], GenerateRequest> parse, Function<Generation, Answer.Whole> whole,
            Function<Generation, Answer.Stream> stream) {
        answer(exchange, read(exchange, parse), whole, stream);
    }

    private <T> T read(Exchange exchange, Function<byte[], T> parse) {
        try (Intake.Body held = intake.open()) {
            return held.parse(exchange.jsonBody(maxBodyBytes, held), parse);
        }
    }

    private void answer(Exchange exchange, GenerateRequest request, Function<Generation, Answer.Whole> whole,
            Function<Generation, Answer.Stream> stream) {
        try (AnswerMemory.Reservation _ = memory.reserve(request)) {
            run(exchange, request, whole, stream);
        }
    }

    private void run(Exchange exchange, GenerateRequest request, Function<Generation, Answer.Whole> whole,
            Function<Generation, Answer.Stream> stream) {
        Generation generation = Generation.submit(request, service, limits, tokenizer, freshSeeds, exchange.tenant());
        ClientConnection client = ClientConnection.current();
        client.watch(generation::clientGone);
        try {
            if (request.stream()) {
                stream(exchange, generation, stream.apply(generation));
            } else {
                Answer.Whole answer = whole.apply(generation);
                answer.await();
                failIfGone(generation);
                exchange.sendJson(answer.toJson());
            }
        } finally {
            client.unwatch();
            generation.cancel();
        }
    }

    /** Until the first event is ready nothing is sent, so what fails before it is still a plain HTTP error. */
    private void stream(Exchange exchange, Generation generation, Answer.Stream answer) {
        SseWriter out = null;
        try {
            long pingNanos = config.pingInterval().toNanos();
            long lastWrite = System.nanoTime();
            while (!answer.isComplete()) {
                JsonBuffer events;
                try {
                    events = answer.next(Math.max(0, lastWrite + pingNanos - System.nanoTime()));
                } catch (ApiException e) {
                    if (out == null) {
                        throw e;
                    }
                    out.write(answer.failure(e));
                    return;
                }
                failIfGone(generation);
                // News need not be anything to show: text may be held back for a stop string or an incomplete character.
                if (events.isEmpty() && System.nanoTime() - lastWrite < pingNanos) {
                    continue;
                }
                if (out == null) {
                    out = exchange.openStream(metrics);
                }
                if (!events.isEmpty()) {
                    out.write(events);
                } else {
                    out.ping();
                }
                lastWrite = System.nanoTime();
            }
        } finally {
            if (out != null) {
                out.close();
            }
        }
    }

    private static void failIfGone(Generation generation) {
        if (generation.isClientGone()) {
            throw new CloseConnectionException("the client went away");
        }
    }
}
