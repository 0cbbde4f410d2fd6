package io.millrace.server.http;

import io.millrace.server.NodeSessions;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Semaphore;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Guards that the clients people use work against this server as they come: text, streams, tools, thoughts, errors. */
class ClientsTest {
    private static TestServer server;

    @BeforeAll
    static void start() throws IOException, InterruptedException {
        NodeSessions.prepare();
        server = new TestServer(engine -> engine.nextToken(new EchoModel()),
                config -> config.toolCallParser("hermes").reasoningParser("think").apiKeys(List.of("secret")), 64, new Semaphore(1 << 30));
    }

    @AfterAll
    static void stop() {
        if (server != null) {
            server.close();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"openai", "anthropic", "ai-sdk", "langchain"})
    void session(String client) throws IOException, InterruptedException {
        NodeSessions.run(NodeSessions.session(client + ".mjs"), Map.of("BASE_URL", server.uri("").toString(), "API_KEY", "secret"), 60);
    }
}
