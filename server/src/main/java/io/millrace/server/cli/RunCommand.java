package io.millrace.server.cli;

import io.millrace.engine.LoadedModel;
import io.millrace.engine.SamplingParams;
import io.millrace.engine.text.IncrementalDecoder;
import io.millrace.scheduler.FinishReason;
import io.millrace.scheduler.GenerationRequest;
import io.millrace.server.config.ServerConfig;
import io.millrace.server.console.Texts;
import io.millrace.server.serving.Generation;
import io.millrace.server.serving.TokenStream;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ThreadLocalRandom;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code millrace run}: a prompt, its continuation streamed to standard output; numbers go to standard error. */
@Command(name = "run", sortOptions = false, header = "Continue a prompt and stream the text to standard output.%n",
        synopsisHeading = "Usage: ", customSynopsis = {"./millrace run [flags] PROMPT...", "       ./millrace run --chat [flags] [MESSAGE...]",
            "       echo PROMPT | ./millrace run [flags]"})
final class RunCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(arity = "0..*", paramLabel = "PROMPT", description = "the text to continue; without it standard input is read")
    private List<String> words = List.of();

    @Option(names = "--chat", description = "put the text into the model's chat template as the user's message; without a message, a conversation line by line")
    private boolean chat;

    @Option(names = "--system", paramLabel = "TEXT", description = "with --chat: the system message")
    private String system;

    @Option(names = "--max-tokens", paramLabel = "INT", defaultValue = "256", description = "tokens to produce at most (default: ${DEFAULT-VALUE})")
    private int maxTokens;

    @Option(names = "--temperature", paramLabel = "NUMBER", description = "0 takes the most likely token each time (default: the model's, else 1)")
    private Float temperature;

    @Option(names = "--top-p", paramLabel = "NUMBER", description = "draw from the most likely tokens of this total probability (default: the model's, else 1)")
    private Float topP;

    @Option(names = "--top-k", paramLabel = "INT", description = "draw from so many most likely tokens; 0 is off (default: the model's, else 0)")
    private Integer topK;

    @Option(names = "--min-p", paramLabel = "NUMBER", description = "drop tokens below this share of the most likely one's probability (default: the model's, else 0)")
    private Float minP;

    @Option(names = "--repetition-penalty", paramLabel = "NUMBER", description = "above 1 discourages repetition (default: the model's, else 1)")
    private Float repetitionPenalty;

    @Option(names = "--sampling-seed", paramLabel = "INT", description = "the same seed draws the same text (default: a random one, shown at the end)")
    private Long samplingSeed;

    @Option(names = "--ignore-eos", description = "go on after the model's end-of-text token")
    private boolean ignoreEos;

    @Option(names = "--quiet", description = "no numbers at the end")
    private boolean quiet;

    @Mixin
    private MillraceCommand.Verbosity verbosity;

    static CommandLine create() {
        CommandLine line = new CommandLine(new RunCommand());
        SettingOptions.addTo(line.getCommandSpec(), SettingOptions.modelGroups());
        return line;
    }

    @Override
    public Integer call() throws IOException {
        ServerConfig config = SettingOptions.read(spec.commandLine().getParseResult(), null);
        checkFlags();
        boolean terminal = System.console() != null && System.console().isTerminal();
        String prompt = String.join(" ", words);
        if (prompt.isEmpty() && !(chat && terminal)) {
            if (terminal) {
                throw new CommandFailure("CLI-007", "no prompt; try ./millrace run \"Once upon a time\"", ExitCodes.USAGE);
            }
            prompt = new String(System.in.readAllBytes(), StandardCharsets.UTF_8).strip();
            if (prompt.isEmpty()) {
                throw new CommandFailure("CLI-007", "no prompt, and standard input is empty; try ./millrace run \"Once upon a time\"", ExitCodes.USAGE);
            }
        }
        try (Generation generation = Generation.open(config)) {
            if (chat && generation.model().chatTemplate().isEmpty()) {
                throw new CommandFailure("CLI-008", generation.model().name() + " has no chat template; leave out --chat, or add "
                        + "chat_template.jinja to the model's folder", ExitCodes.USAGE);
            }
            if (chat && prompt.isEmpty()) {
                converse(generation, config);
            } else if (chat) {
                List<Map<String, Object>> messages = firstMessages();
                messages.add(message("user", prompt));
                answer(generation, config, render(generation.model(), messages), "");
            } else {
                // The prompt is shown too: it is the beginning of the text.
                answer(generation, config, generation.model().tokenizer().encode(prompt, true), prompt);
            }
        }
        return ExitCodes.OK;
    }

    private void checkFlags() {
        List<String> problems = new ArrayList<>();
        problem(problems, maxTokens < 1, "--max-tokens " + maxTokens + ": use a whole number from 1");
        problem(problems, temperature != null && !(temperature >= 0 && temperature <= 100), "--temperature " + temperature + ": use a number from 0 to 100");
        problem(problems, topP != null && !(topP > 0 && topP <= 1), "--top-p " + topP + ": use a number above 0 and up to 1");
        problem(problems, topK != null && topK < 0, "--top-k " + topK + ": use a whole number from 0");
        problem(problems, minP != null && !(minP >= 0 && minP <= 1), "--min-p " + minP + ": use a number from 0 to 1");
        problem(problems, repetitionPenalty != null && !(repetitionPenalty > 0 && repetitionPenalty <= 10),
                "--repetition-penalty " + repetitionPenalty + ": use a number above 0 and up to 10");
        if (!problems.isEmpty()) {
            throw new io.millrace.server.config.ConfigException(problems);
        }
    }

    private static void problem(List<String> problems, boolean wrong, String text) {
        if (wrong) {
            problems.add("CLI-002: " + text);
        }
    }

    private List<Map<String, Object>> firstMessages() {
        List<Map<String, Object>> messages = new ArrayList<>();
        if (system != null) {
            messages.add(message("system", system));
        }
        return messages;
    }

    private static Map<String, Object> message(String role, String content) {
        return Map.of("role", role, "content", content);
    }

    private static int[] render(LoadedModel model, List<Map<String, Object>> messages) {
        // The template writes the special tokens itself.
        return model.tokenizer().encode(model.chatTemplate().orElseThrow().render(messages, null, true, Map.of()), false);
    }

    /** Line by line until the end of input; the whole conversation is the prompt of each turn. */
    private void converse(Generation generation, ServerConfig config) throws IOException {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        List<Map<String, Object>> messages = firstMessages();
        System.err.println("Talking to " + generation.model().name() + ". An empty line or Ctrl-D ends it.");
        while (true) {
            System.err.print("> ");
            System.err.flush();
            String line = lines.readLine();
            if (line == null || line.isBlank()) {
                System.err.println();
                return;
            }
            messages.add(message("user", line));
            messages.add(message("assistant", answer(generation, config, render(generation.model(), messages), "")));
        }
    }

    /** Streams the continuation of {@code promptIds}, after {@code shown}, and returns it. */
    private String answer(Generation generation, ServerConfig config, int[] promptIds, String shown) {
        LoadedModel model = generation.model();
        int room = generation.service().limits().maxModelLen() - promptIds.length;
        if (promptIds.length == 0 || room < 1) {
            throw new CommandFailure("CLI-009", promptIds.length == 0 ? "the prompt has no tokens; give at least one character"
                    : "the prompt has " + promptIds.length + " tokens, the model takes " + (promptIds.length + room)
                            + " with at least one of answer; shorten it", ExitCodes.USAGE);
        }
        long seed = samplingSeed != null ? samplingSeed : ThreadLocalRandom.current().nextInt(1_000_000);
        SamplingParams sampling = sampling(model, config, Math.min(maxTokens, room), seed);
        TokenStream stream = new TokenStream(sampling.maxTokens(), Thread.currentThread());
        IncrementalDecoder decoder = model.tokenizer().decoder(promptIds, true);
        PrintStream out = System.out;
        out.print(shown);
        out.flush();
        StringBuilder text = new StringBuilder();
        long start = System.nanoTime();
        generation.service().submit(new GenerationRequest(promptIds, sampling, stream));
        for (int token = stream.next(); token >= 0; token = stream.next()) {
            show(out, text, decoder.append(token));
        }
        show(out, text, decoder.finish());
        out.println();
        FinishReason reason = stream.awaitEnd();
        if (reason == FinishReason.ERROR) {
            throw new CommandFailure("SRV-003", "the generation failed: " + stream.message(), ExitCodes.FAILURE);
        }
        if (!quiet) {
            System.err.println(summary(promptIds.length, stream, start, reason, sampling, seed, promptIds.length + room));
        }
        return text.toString();
    }

    private static void show(PrintStream out, StringBuilder text, String piece) {
        if (!piece.isEmpty()) {
            text.append(piece);
            out.print(piece);
            out.flush();
        }
    }

    private SamplingParams sampling(LoadedModel model, ServerConfig config, int tokens, long seed) {
        LoadedModel.GenerationDefaults defaults = config.modelDefaults() ? model.defaults() : LoadedModel.GenerationDefaults.none();
        return SamplingParams.builder().maxTokens(tokens).seed(seed).ignoreEos(ignoreEos)
                .temperature(first(temperature, defaults.temperature(), 1f)).topP(first(topP, defaults.topP(), 1f))
                .topK(first(topK, defaults.topK(), 0)).minP(first(minP, defaults.minP(), 0f))
                .repetitionPenalty(first(repetitionPenalty, defaults.repetitionPenalty(), 1f)).build();
    }

    private static <T> T first(T flag, Optional<T> model, T otherwise) {
        return flag != null ? flag : model.orElse(otherwise);
    }

    private String summary(int promptTokens, TokenStream stream, long start, FinishReason reason, SamplingParams sampling, long seed, int contextLength) {
        int tokens = stream.numTokens();
        double ttft = tokens == 0 ? 0 : (stream.arrivalNanos(0) - start) / 1e6;
        double decode = tokens < 2 ? 0 : (stream.arrivalNanos(tokens - 1) - stream.arrivalNanos(0)) / 1e9;
        return String.format(Locale.ROOT, "[%d prompt token%s, first token after %s ms; %d token%s%s; ended by %s%s]", promptTokens, promptTokens == 1 ? "" : "s", Texts.rate(ttft),
                tokens, tokens == 1 ? "" : "s", decode > 0 ? ", " + Texts.rate((tokens - 1) / decode) + " tokens/s" : "",
                reason == FinishReason.STOP ? "end of text" : tokens >= maxTokens ? "--max-tokens " + maxTokens : "the context length of " + contextLength,
                sampling.temperature() == 0 ? "" : "; --sampling-seed " + seed);
    }
}
