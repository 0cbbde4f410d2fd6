package io.millrace.server.http;

import io.helidon.webserver.CloseConnectionException;
import io.millrace.engine.EngineLimits;
import io.millrace.engine.text.Tokenizer;
import io.millrace.scheduler.GenerationService;
import io.millrace.server.openai.ApiException;
import io.millrace.server.openai.Fields;
import io.millrace.server.openai.GenerateRequest;
import io.millrace.server.openai.Generation;
import io.millrace.server.openai.JsonBuffer;
import io.millrace.server.openai.RequestParser;
import io.millrace.server.openai.StreamAnswer;
import io.millrace.server.openai.WholeAnswer;
import java.util.function.Function;

/** The routes that run the model or its tokenizer. */
final class GenerationRoutes {
    private final HttpServerConfig config;
    private final GenerationService service;
    private final EngineLimits limits;
    private final Tokenizer tokenizer;
    private final RequestParser parser;

    GenerationRoutes(HttpServerConfig config, GenerationService service, Tokenizer tokenizer, RequestParser parser) {
        this.config = config;
        this.service = service;
        this.limits = service.limits();
        this.tokenizer = tokenizer;
        this.parser = parser;
    }

    void completions(Exchange exchange) {
        answer(exchange, parser::completion);
    }

    void chatCompletions(Exchange exchange) {
        answer(exchange, parser::chat);
    }

    void tokenize(Exchange exchange) {
        Fields fields = Fields.parse(exchange.jsonBody(config.maxBodyBytes()));
        boolean withStrings = fields.flag("return_token_strs", false);
        int[] ids = parser.tokenize(fields);
        JsonBuffer json = new JsonBuffer(64 + 6 * ids.length).raw("{\"count\":").number(ids.length)
                .raw(",\"max_model_len\":").number(limits.maxModelLen()).raw(",\"tokens\":[");
        for (int i = 0; i < ids.length; i++) {
            json.raw(i == 0 ? "" : ",").number(ids[i]);
        }
        json.raw("]");
        if (withStrings) {
            json.raw(",\"token_strs\":[");
            for (int i = 0; i < ids.length; i++) {
                json.raw(i == 0 ? "" : ",").string(tokenizer.piece(ids[i]));
            }
            json.raw("]");
        }
        exchange.sendJson(json.raw("}"));
    }

    void detokenize(Exchange exchange) {
        String text = parser.detokenize(Fields.parse(exchange.jsonBody(config.maxBodyBytes())));
        exchange.sendJson(new JsonBuffer(64 + text.length()).raw("{\"prompt\":").string(text).raw("}"));
    }

    private void answer(Exchange exchange, Function<byte[], GenerateRequest> parse) {
        GenerateRequest request = parse.apply(exchange.jsonBody(config.maxBodyBytes()));
        Generation generation = Generation.submit(request, service, limits, tokenizer);
        ClientConnection client = ClientConnection.current();
        client.watch(generation::clientGone);
        try {
            if (request.stream()) {
                stream(exchange, generation);
            } else {
                WholeAnswer answer = new WholeAnswer(generation, tokenizer);
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
    private void stream(Exchange exchange, Generation generation) {
        StreamAnswer answer = new StreamAnswer(generation, tokenizer);
        SseWriter out = null;
        while (!answer.isComplete()) {
            JsonBuffer events;
            try {
                events = answer.next(config.pingInterval().toNanos());
            } catch (ApiException e) {
                if (out == null) {
                    throw e;
                }
                out.write(StreamAnswer.failure(e));
                return;
            }
            failIfGone(generation);
            if (out == null) {
                out = SseWriter.open(exchange.response());
            }
            if (!events.isEmpty()) {
                out.write(events);
            } else {
                out.ping();
            }
        }
    }

    private static void failIfGone(Generation generation) {
        if (generation.isClientGone()) {
            throw new CloseConnectionException("the client went away");
        }
    }
}
