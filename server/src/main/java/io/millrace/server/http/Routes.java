package io.millrace.server.http;

import io.helidon.http.HeaderNames;
import io.helidon.webserver.CloseConnectionException;
import io.helidon.webserver.http.Handler;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import io.millrace.server.openai.ApiException;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/** The route table: path to method to action. Everything that can go wrong ends here as an OpenAI error body. */
final class Routes implements Handler {
    private static final System.Logger LOG = System.getLogger(Routes.class.getName());
    /** Probes of load balancers carry no key. */
    private static final Set<String> OPEN = Set.of("/health", "/ready");
    private static final String MODEL_PREFIX = "/v1/models/";

    /** Answers one request; throws {@link ApiException} to refuse it. */
    @FunctionalInterface
    interface Action {
        void handle(Exchange exchange) throws Exception;
    }

    private final Map<String, Map<String, Action>> actions = new TreeMap<>();
    private final ApiKeys keys;

    Routes(ApiKeys keys) {
        this.keys = keys;
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
        Exchange exchange = new Exchange(request, response);
        try {
            if (!OPEN.contains(exchange.path())) {
                keys.check(exchange.header(HeaderNames.AUTHORIZATION).orElse(null));
            }
            find(exchange).handle(exchange);
        } catch (ApiException e) {
            exchange.sendError(e);
        } catch (CloseConnectionException e) {
            throw e; // the client is gone or the answer is already cut: nothing more to say on this connection
        } catch (Exception e) {
            LOG.log(System.Logger.Level.ERROR, "request failed: " + exchange.method() + " " + printable(exchange.path()), e);
            exchange.sendError(ApiException.internal("The server failed to answer; its log has the details."));
        }
    }

    private Action find(Exchange exchange) {
        // Model names may contain slashes, so this is a prefix and not a path parameter.
        String path = exchange.path();
        Map<String, Action> methods = actions.get(path.startsWith(MODEL_PREFIX) ? MODEL_PREFIX + "{model}" : path);
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

    private static String printable(String path) {
        String shown = path.length() > 200 ? path.substring(0, 200) + "..." : path;
        return shown.replaceAll("[^\\x20-\\x7e]", "?");
    }
}
