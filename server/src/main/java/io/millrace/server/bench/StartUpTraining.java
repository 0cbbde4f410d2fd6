package io.millrace.server.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.millrace.engine.EngineConfig;
import io.millrace.engine.LoadedModel;
import io.millrace.engine.ModelLoader;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.TextGenerator;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;

/**
 * The few requests a freshly built server sends to itself, so that the start-up cache (JEP 483, 515) holds the classes and profiles of
 * the paths that the first real requests take.
 */
public final class StartUpTraining {
    private static final int ROUNDS = 20;

    private StartUpTraining() {}

    /**
     * Loads a GGUF file of its own making, whose vocabulary is large enough that the loops over it count as hot, and computes a few tokens.
     *
     * @return tokens computed
     */
    public static int loadGguf(EngineConfig settings) throws IOException {
        Path file = Files.createTempFile("millrace-training", ".gguf");
        try {
            TrainingModel.write(file);
            try (LoadedModel model = ModelLoader.load(file, settings.withLimits(64, 2, 64).withKvCache("auto", 32))) {
                model.engine().packSome();
                int[] prompt = model.tokenizer().encode("once upon a time", true);
                return new TextGenerator(model.engine()).generate(List.of(prompt), SamplingParams.greedy(4), TextGenerator.StepListener.NONE)
                        .getFirst().length;
            }
        } finally {
            Files.deleteIfExists(file);
        }
    }

    /** Sends the requests; an answer that is no success is passed over, since only the visited code matters. */
    public static void run(int port, List<String> apiKeys) throws IOException {
        URI base = URI.create("http://127.0.0.1:" + port);
        try (OpenAiClient client = new OpenAiClient(base, apiKeys.isEmpty() ? null : apiKeys.getFirst(), Duration.ofSeconds(20))) {
            String model = client.firstModel();
            for (int i = 0; i < ROUNDS; i++) {
                ObjectNode completion = OpenAiClient.object().put("model", model).put("prompt", "Once upon a time").put("max_tokens", 8)
                        .put("temperature", i % 2).put("seed", i).put("stream", true);
                completion.putObject("stream_options").put("include_usage", true);
                client.stream("/v1/completions", OpenAiClient.bytes(completion));
                ObjectNode chat = OpenAiClient.object().put("model", model).put("max_tokens", 8).put("stream", true);
                chat.putArray("messages").addObject().put("role", "user").put("content", "Tell me a story.");
                client.stream("/v1/chat/completions", OpenAiClient.bytes(chat));
            }
        }
    }
}
