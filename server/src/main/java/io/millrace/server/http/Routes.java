package io.millrace.server.http;

import io.helidon.http.HeaderNames;
import io.helidon.webserver.CloseConnectionException;
import io.helidon.webserver.http.Handler;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import io.millrace.server.openai.ApiException;
import io.millrace.telemetry.HttpMetrics;
import java.io.UncheckedIOException;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/** The route table: path to method to action. Everything that can go wrong ends here as an OpenAI error body. */
final class Routes implements Handler {
    private static final System.Logger LOG = System.getLogger(Routes.class.getName());
    /** Probes of load balancers carry no key. */
    private static final Set<String> OPEN = Set.of("/health", "/ready");
    private static final Set<String> METHODS = Set.of("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH");
    /** As proxies of the nginx family record it: the client left before it was answered. */
    private static final int CLIENT_GONE = 499;
    private static final String MODEL_PREFIX = "/v1/models/";

    /** Answers one request; throws {@link ApiException} to refuse it. */
    @FunctionalInterface
    interface Action {
        void handle(Exchange exchange) throws Exception;
    }

    private final Map<String, Map<String, Action>> actions = new TreeMap<>();
    private final ApiKeys keys;
    private final HttpMetrics metrics;

    Routes(ApiKeys keys, HttpMetrics metrics) {
        this.keys = keys;
        this.metrics = metrics;
    }

    Routes get(String path, Action action) {
        actions.computeIfAbsent(path, p -> new TreeMap<>()).put("GET", action);
        return this;
    }

    Routes post(String path, Action action) {
        actions.computeIfAbsent(path, p -> new TreeMap<>()).put("POST", action);
        return this;
    }

    /** {@code GET /path} lines, for the index. */
    java.util.List<String> describe() {
        return actions.entrySet().stream()
                .flatMap(route -> route.getValue().keySet().stream().map(method -> method + " " + route.getKey())).toList();
    }

    @Override
    public void handle(ServerRequest request, ServerResponse response) {
        long began = System.nanoTime();
        Exchange exchange = new Exchange(request, response);
        ClientConnection client = ClientConnection.current();
        client.headRead(exchange.hasEntity());
        try {
            answer(exchange);
        } finally {
            client.requestAnswered();
            int status = exchange.status() == 0 ? CLIENT_GONE : exchange.status();
            metrics.recordRequest(handlerName(exchange), METHODS.contains(exchange.method()) ? exchange.method() : "other", status,
                    System.nanoTime() - began);
        }
    }

    private void answer(Exchange exchange) {
        try {
            if (!OPEN.contains(exchange.path())) {
                exchange.setTenant(keys.check(exchange.authorization()));
            }
            find(exchange).handle(exchange);
        } catch (ApiException e) {
            exchange.sendError(e);
        } catch (CloseConnectionException e) {
            throw e; // the client is gone or the answer is already cut: nothing more to say on this connection
        } catch (UncheckedIOException e) {
            throw new CloseConnectionException("the client went away", e);
        } catch (Exception e) {
            LOG.log(System.Logger.Level.ERROR, "request failed: " + exchange.method() + " " + printable(exchange.path()), e);
            exchange.sendError(ApiException.internal("The server failed to answer; its log has the details."));
        }
    }

    private Action find(Exchange exchange) {
        // Model names may contain slashes, so this is a prefix and not a path parameter.
        String path = exchange.path();
        Map<String, Action> methods = actions.get(pattern(path));
        if (methods == null) {
            throw ApiException.notFound("unknown_url", null,
                    "There is no " + exchange.method() + " " + printable(path) + " here; GET / lists the endpoints.");
        }
        Action action = methods.get(exchange.method().equals("HEAD") ? "GET" : exchange.method());
        if (action == null) {
            String allowed = String.join(", ", methods.keySet());
            exchange.response().header(HeaderNames.ALLOW, allowed);
            throw new ApiException(405, "invalid_request_error", "method_not_allowed", null,
                    exchange.method() + " is not allowed on " + printable(path) + "; use " + allowed + ".", 0);
        }
        return action;
    }

    private static String pattern(String path) {
        return path.startsWith(MODEL_PREFIX) ? MODEL_PREFIX + "{model}" : path;
    }

    /** Names of a closed set: each makes a time series, so clients must not be able to invent one. */
    private String handlerName(Exchange exchange) {
        String pattern = pattern(exchange.path());
        return actions.containsKey(pattern) ? pattern : "none";
    }

    private static String printable(String path) {
        String shown = path.length() > 200 ? path.substring(0, 200) + "..." : path;
        return shown.replaceAll("[^\\x20-\\x7e]", "?");
    }
}
