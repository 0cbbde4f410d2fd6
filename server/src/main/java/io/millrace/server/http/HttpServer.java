package io.millrace.server.http;

import io.helidon.http.DirectHandler;
import io.helidon.http.HeaderNames;
import io.helidon.http.HeaderValues;
import io.helidon.webserver.CloseConnectionException;
import io.helidon.webserver.WebServer;
import io.helidon.webserver.http.DirectHandlers;
import io.helidon.webserver.http1.Http1Config;
import io.helidon.webserver.http1.Http1ConnectionSelector;
import io.millrace.engine.LoadedModel;
import io.millrace.engine.text.ChatTemplate;
import io.millrace.scheduler.GenerationService;
import io.millrace.server.openai.ApiException;
import io.millrace.server.openai.JsonBuffer;
import io.millrace.server.openai.RequestParser;
import io.millrace.server.openai.output.Dialect;
import io.millrace.telemetry.HttpMetrics;
import io.millrace.telemetry.MetricRegistry;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Serves one model over HTTP/1.1. Owns neither the model nor the service: close this first, then those.
 */
public final class HttpServer implements AutoCloseable {
    private final WebServer server;
    private final GenerationService service;
    private final HttpServerConfig config;
    private final Deadlines deadlines;
    private final GenerationRoutes generation;
    private final AtomicBoolean closed = new AtomicBoolean();

    private HttpServer(WebServer server, GenerationService service, HttpServerConfig config, Deadlines deadlines,
            GenerationRoutes generation) {
        this.deadlines = deadlines;
        this.generation = generation;
        this.server = server;
        this.service = service;
        this.config = config;
    }

    /** Has the classes of the web server loaded and initialised, so that {@link #start} finds them; opens nothing. Any thread. */
    public static void warmUp() {
        WebServer.builder().shutdownHook(false).protocolsDiscoverServices(false)
                .addConnectionSelector(Http1ConnectionSelector.builder().config(Http1Config.create()).build())
                .routing(routing -> routing.any((request, response) -> response.send())).build();
    }

    /** {@link #start(HttpServerConfig, LoadedModel, GenerationService, MetricsSource, HttpMetrics)} without metrics of its own. */
    public static HttpServer start(HttpServerConfig config, LoadedModel model, GenerationService service, MetricsSource metrics) {
        return start(config, model, service, metrics, new HttpMetrics(MetricRegistry.forModel(model.name())));
    }

    /**
     * Binds and answers from the moment this returns.
     *
     * @param metrics     what {@code /metrics} answers
     * @param httpMetrics what this server records
     */
    public static HttpServer start(HttpServerConfig config, LoadedModel model, GenerationService service, MetricsSource metrics,
            HttpMetrics httpMetrics) {
        long maxBodyBytes = config.maxBodyBytesFor(service.limits().maxModelLen());
        Routes routes = new Routes(new ApiKeys(config.apiKeys()), httpMetrics);
        ServerInfo info = new ServerInfo(config, model, service, routes);
        routes.get("/", info::index)
                .get("/health", info::health)
                .get("/ready", info::ready)
                .get("/version", info::version)
                .get("/metrics", info.metrics(metrics))
                .get("/v1/models", info::models)
                .get("/v1/models/{model}", info::oneModel);
        RequestParser parser = new RequestParser(model, service.limits(), ServerInfo.servedNames(config, model),
                config.generationConfigFromModel(), config.maxChoices(), config.priorities(), Dialect.of(
                model.chatTemplate().map(ChatTemplate::source).orElse(""), config.toolCallParser(), config.reasoningParser()));
        GenerationRoutes generation = new GenerationRoutes(config, service, model.tokenizer(), parser, httpMetrics);
        routes.post("/v1/completions", generation::completions)
                .post("/v1/chat/completions", generation::chatCompletions)
                .post("/v1/responses", generation::responses)
                .post("/v1/messages", generation::messages)
                .post("/v1/messages/count_tokens", generation::countTokens)
                .post("/tokenize", generation::tokenize)
                .post("/detokenize", generation::detokenize);

        Deadlines deadlines = new Deadlines(config.readTimeout(), config.writeTimeout(), httpMetrics);
        WebServer server = WebServer.builder()
                .host(config.host())
                .port(config.port())
                .shutdownHook(false)
                .protocolsDiscoverServices(false)
                .addConnectionSelector(new WatchedHttp1(Http1ConnectionSelector.builder()
                        .config(Http1Config.builder().validateRequestHeaders(true).build()).build(), deadlines, httpMetrics))
                .maxTcpConnections(config.maxConnections())
                .maxPayloadSize(maxBodyBytes)
                .idleConnectionTimeout(config.idleTimeout())
                .idleConnectionPeriod(Duration.ofMillis(Math.clamp(config.idleTimeout().toMillis() / 4, 10, 60_000)))
                // Requests are drained by the service before this server stops; what is left then has been ended already.
                .shutdownGracePeriod(Duration.ofSeconds(2))
                .connectionOptions(options -> options.tcpNoDelay(true).socketKeepAlive(true))
                .writeBufferSize(16 * 1024)
                .directHandlers(refusals(maxBodyBytes))
                .routing(routing -> routing
                        .addFilter((chain, request, response) -> {
                            chain.proceed();
                            // Helidon 4.5.0 announces the close but keeps the socket open (its issue 12324).
                            if (response.headers().contains(HeaderValues.CONNECTION_CLOSE)) {
                                throw new CloseConnectionException("the answer said so");
                            }
                        })
                        .any(routes))
                .build()
                .start();
        return new HttpServer(server, service, config, deadlines, generation);
    }

    /** Bytes of request bodies held now, for tests. */
    long heldBodyBytes() {
        return generation.heldBodyBytes();
    }

    /** Connections with a deadline, for tests. */
    int numWatched() {
        return deadlines.numWatched();
    }

    public int port() {
        return server.port();
    }

    /** Stops taking generation requests, lets running ones finish within the configured time, then stops answering. Idempotent. */
    @Override
    public void close() {
        if (closed.compareAndSet(false, true)) {
            service.shutdown(config.shutdownTimeout());
            server.stop();
            deadlines.close();
        }
    }

    /** Requests refused before routing (broken HTTP, oversized bodies) get the same error body as all others. */
    private static DirectHandlers refusals(long maxBodyBytes) {
        DirectHandlers.Builder builder = DirectHandlers.builder();
        for (DirectHandler.EventType type : DirectHandler.EventType.values()) {
            builder.addHandler(type, (request, event, status, headers, message) -> {
                ApiException error = status.code() == 413 ? Exchange.tooLarge(maxBodyBytes)
                        : new ApiException(status.code(), status.code() < 500 ? "invalid_request_error" : "server_error",
                                status.code() < 500 ? "bad_http_request" : "internal_error", null,
                                status.code() < 500 ? "The HTTP request was refused: " + message : "The server failed to answer.", 0);
                JsonBuffer body = new JsonBuffer(256);
                error.writeTo(body);
                headers.set(HeaderNames.CONTENT_TYPE, "application/json");
                return DirectHandler.TransportResponse.builder().status(status).headers(headers).entity(body.toByteArray()).build();
            });
        }
        return builder.build();
    }
}
