package io.millrace.server.endtoend;

import io.millrace.server.NodeSessions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** Property: the conformance checks that any OpenAI-compatible server can be held to, with the official client and a real model, all pass. */
class SmokeTest {
    @Test
    void allChecksPass() throws IOException, InterruptedException {
        Path model = RealServer.data("models/stories260K/hf-fp32");
        Path checks = Path.of(System.getProperty("millrace.data")).resolveSibling("clients").resolve("smoke.mjs");
        Assumptions.assumeTrue(Files.exists(checks), () -> "no checks at " + checks);
        NodeSessions.prepare();
        // The slow backend: one check counts the chunks that a client still gets after it has gone, and this model is done before it has.
        try (RealServer server = new RealServer(model, "backend", "reference")) {
            NodeSessions.run(checks, Map.of("BASE_URL", "http://127.0.0.1:" + server.http.port() + "/v1"), 120, "--no-auth");
        }
    }
}
