package io.millrace.server.http;

import io.millrace.engine.EngineLimits;
import io.millrace.engine.LoadedModel;
import io.millrace.scheduler.GenerationService;
import io.millrace.server.openai.ApiException;
import io.millrace.server.openai.JsonBuffer;
import io.millrace.server.openai.RequestParser;
import java.io.ByteArrayOutputStream;
import java.util.List;

/** The routes that say what this server is and how it is: models, version, health, metrics, index. */
final class ServerInfo {
    private final HttpServerConfig config;
    private final List<String> modelNames;
    private final EngineLimits limits;
    private final GenerationService service;
    private final Routes routes;
    private final long startedSeconds = System.currentTimeMillis() / 1000;

    ServerInfo(HttpServerConfig config, LoadedModel model, GenerationService service, Routes routes) {
        this.config = config;
        this.modelNames = servedNames(config, model);
        this.limits = service.limits();
        this.service = service;
        this.routes = routes;
    }

    static List<String> servedNames(HttpServerConfig config, LoadedModel model) {
        return config.servedModelNames().isEmpty() ? List.of(model.name()) : config.servedModelNames();
    }

    void index(Exchange exchange) {
        JsonBuffer json = new JsonBuffer(1024);
        json.raw("{\"name\":\"millrace\",\"version\":").string(config.version()).raw(",\"model\":").string(modelNames.getFirst())
                .raw(",\"endpoints\":[");
        String separator = "";
        for (String route : routes.describe()) {
            json.raw(separator).string(route);
            separator = ",";
        }
        exchange.sendJson(json.raw("]}"));
    }

    void version(Exchange exchange) {
        exchange.sendJson(new JsonBuffer(64).raw("{\"version\":").string(config.version()).raw("}"));
    }

    /** 200 while the engine lives and its work advances; a load balancer restarts the process on 503. */
    void health(Exchange exchange) {
        GenerationService.Status status = service.status();
        if (!status.alive()) {
            String why = status.failure() == null ? "The engine has been stopped." : "The engine has failed: " + status.failure();
            throw ApiException.unavailable("engine_dead", why, 0);
        }
        failIfStalled(status);
        sendStatus(exchange, status);
    }

    /** 200 while new requests are taken; a load balancer sends them elsewhere on 503. */
    void ready(Exchange exchange) {
        GenerationService.Status status = service.status();
        if (!status.alive() || !status.accepting()) {
            throw ApiException.unavailable(status.alive() ? "shutting_down" : "engine_dead",
                    status.alive() ? "The server is draining and takes no new requests." : "The engine is not running.", 0);
        }
        failIfStalled(status);
        sendStatus(exchange, status);
    }

    /** Whoever does not advance gets no further work, and is restarted if it stays so. */
    private static void failIfStalled(GenerationService.Status status) {
        if (status.stall() != null) {
            throw ApiException.unavailable("engine_stalled", "The engine has stopped advancing: " + status.stall() + ". Running "
                    + status.numRunning() + ", waiting " + status.numWaiting() + ", steps so far " + status.numSteps() + ".", 0);
        }
    }

    private static void sendStatus(Exchange exchange, GenerationService.Status status) {
        exchange.sendJson(new JsonBuffer(256).raw("{\"status\":\"ok\",\"running\":").number(status.numRunning())
                .raw(",\"waiting\":").number(status.numWaiting()).raw(",\"free_kv_blocks\":").number(status.numFreeBlocks())
                .raw(",\"kv_blocks\":").number(status.numBlocks()).raw(",\"steps\":").number(status.numSteps()).raw("}"));
    }

    Routes.Action metrics(MetricsSource source) {
        return exchange -> {
            ByteArrayOutputStream text = new ByteArrayOutputStream(16 * 1024);
            source.writeText(text);
            exchange.send(200, "text/plain; version=0.0.4; charset=utf-8", text.toByteArray());
        };
    }

    void models(Exchange exchange) {
        JsonBuffer json = new JsonBuffer(256).raw("{\"object\":\"list\",\"data\":[");
        for (int i = 0; i < modelNames.size(); i++) {
            writeModel(json.raw(i == 0 ? "" : ","), modelNames.get(i));
        }
        exchange.sendJson(json.raw("]}"));
    }

    void oneModel(Exchange exchange) {
        String name = exchange.path().substring("/v1/models/".length());
        if (!modelNames.contains(name)) {
            throw RequestParser.unknownModel(name, modelNames);
        }
        JsonBuffer json = new JsonBuffer(256);
        writeModel(json, name);
        exchange.sendJson(json);
    }

    private void writeModel(JsonBuffer json, String name) {
        json.raw("{\"id\":").string(name).raw(",\"object\":\"model\",\"created\":").number(startedSeconds)
                .raw(",\"owned_by\":\"millrace\",\"root\":").string(modelNames.getFirst())
                .raw(",\"max_model_len\":").number(limits.maxModelLen()).raw("}");
    }
}
