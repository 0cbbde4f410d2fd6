package io.millrace.server.cli;

import io.millrace.engine.EngineLimits;
import io.millrace.engine.text.Tokenizer;
import io.millrace.server.bench.Perplexity;
import io.millrace.server.config.ConfigException;
import io.millrace.server.config.ServerConfig;
import io.millrace.server.config.Settings;
import io.millrace.server.console.ProgressBar;
import io.millrace.server.console.Table;
import io.millrace.server.console.Texts;
import io.millrace.server.serving.Generation;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.regex.Pattern;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code millrace bench perplexity}: how well the model predicts a text. */
@Command(name = "perplexity", sortOptions = false, header = "Score a text: what rounding of weights, activations or cache costs.%n",
        synopsisHeading = "Usage: ", customSynopsis = "./millrace bench perplexity --text FILE [flags]")
final class BenchPerplexityCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Option(names = "--text", required = true, paramLabel = "FILE", description = "UTF-8 text to score")
    private Path text;

    @Option(names = "--context", defaultValue = "512", paramLabel = "INT", description = "tokens of a window, at most the model's (default: ${DEFAULT-VALUE})")
    private int context;

    @Option(names = "--stride", paramLabel = "INT",
            description = "tokens from one window to the next; as --context (the default): the second half of every window is scored, as llama-perplexity does; "
                    + "smaller: the last STRIDE tokens of every window")
    private Integer stride;

    @Option(names = "--separator", paramLabel = "TEXT",
            description = "the text holds documents, with lines of only TEXT between them: each is scored alone, its end token too, in windows of --context only where it is longer")
    private String separator;

    @Option(names = "--json", paramLabel = "FILE", description = "write the figures as JSON")
    private Path json;

    @Mixin
    private MillraceCommand.Verbosity verbosity;

    static CommandLine create() {
        CommandLine line = new CommandLine(new BenchPerplexityCommand());
        SettingOptions.addTo(line.getCommandSpec(), SettingOptions.modelGroups());
        return line;
    }

    @Override
    public Integer call() throws InterruptedException {
        ServerConfig config = SettingOptions.read(spec.commandLine().getParseResult(), null);
        BenchFlags.positive("--context", context, "--stride", stride == null ? context : stride);
        if (context < 2 || stride != null && stride > context) {
            throw new ConfigException(List.of("CLI-005: --context " + context + " and --stride " + stride
                    + ": a window has 2 tokens or more, and the next begins at its end or before"));
        }
        String content = read();
        try (Generation generation = EngineRuns.open(config)) {
            EngineLimits limits = generation.service().limits();
            // The engine has a place for the token after the window, which is never computed.
            int window = Math.min(context, limits.maxModelLen() - 1);
            List<Perplexity.Window> windows = separator == null ? plain(generation.model().tokenizer(), content, window)
                    : documents(generation.model().tokenizer(), limits, content, window);
            if (windows.isEmpty()) {
                throw new CommandFailure("CLI-009", "--text " + text + " holds fewer than two tokens; give more text", ExitCodes.USAGE);
            }
            Tokenizer tokenizer = generation.model().tokenizer();
            Perplexity.Result result;
            try (ProgressBar progress = new ProgressBar("bench perplexity", windows.size())) {
                result = Perplexity.score(generation.service(), windows, id -> tokenizer.bytes(id).length, progress::update);
            }
            print(result, windows.size(), window);
            Map<String, Object> settings = new LinkedHashMap<>();
            settings.put("model", generation.model().name());
            settings.put("backend", config.get(Settings.BACKEND));
            settings.put("kv_cache_dtype", generation.model().engine().kvCacheDtype());
            settings.put("text", String.valueOf(text));
            settings.put("context", window);
            settings.put("stride", stride == null ? window : Math.min(stride, window));
            settings.put("num_windows", windows.size());
            JsonFile.write(json, "perplexity", settings, result.toMap());
        }
        return ExitCodes.OK;
    }

    private String read() {
        try {
            return Files.readString(text);
        } catch (IOException e) {
            throw new CommandFailure("CLI-007", "--text " + text + " cannot be read as UTF-8: " + e + "; give a text file", ExitCodes.USAGE, e);
        }
    }

    private List<Perplexity.Window> plain(Tokenizer tokenizer, String content, int window) {
        int step = stride == null ? window : Math.min(stride, window);
        return Perplexity.windows(tokenizer.encode(content, false), window, step, bos(tokenizer));
    }

    /** Each document from its begin token to its end token, in windows only where it is longer than one. */
    private List<Perplexity.Window> documents(Tokenizer tokenizer, EngineLimits limits, String content, int window) {
        List<Perplexity.Window> windows = new ArrayList<>();
        for (String document : content.split("(?m)(^|\\R)" + Pattern.quote(separator) + "(\\R|$)")) {
            int[] ids = tokenizer.encode(document.strip(), true);
            if (limits.eosTokenIds().length > 0 && (ids.length == 0 || !limits.isEos(ids[ids.length - 1]))) {
                ids = Arrays.copyOf(ids, ids.length + 1);
                ids[ids.length - 1] = limits.eosTokenIds()[0];
            }
            for (int begin = 0; begin + 1 < ids.length; begin += window - 1) {
                windows.add(new Perplexity.Window(Arrays.copyOfRange(ids, begin, Math.min(ids.length, begin + window)), 1));
            }
        }
        return windows;
    }

    /** What the tokenizer puts before a text, or -1. */
    private static int bos(Tokenizer tokenizer) {
        int[] with = tokenizer.encode("a", true);
        int[] without = tokenizer.encode("a", false);
        return with.length > without.length && with[0] != without[0] ? with[0] : -1;
    }

    private void print(Perplexity.Result result, int numWindows, int window) {
        spec.commandLine().getOut().print(new Table()
                .heading(numWindows + (separator == null ? " windows of " + window + " tokens" : " documents, or windows of them"))
                .row("perplexity", digits(result.perplexity()), "+- " + digits(result.perplexityError()))
                .row("nats per token", digits(result.natsPerToken()), "+- " + digits(result.natsError()))
                .row("bits per byte", digits(result.bitsPerByte()))
                .row("scored tokens", Texts.count(result.tokens()))
                .row("scored tokens/s", Texts.rate(result.tokens() / result.seconds())));
        spec.commandLine().getOut().flush();
    }

    private static String digits(double value) {
        return String.format(Locale.ROOT, "%.4f", value);
    }
}
