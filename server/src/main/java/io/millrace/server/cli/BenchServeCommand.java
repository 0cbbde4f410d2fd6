package io.millrace.server.cli;

import io.millrace.server.bench.Distribution;
import io.millrace.server.bench.OpenAiClient;
import io.millrace.server.bench.ServeBench;
import io.millrace.server.bench.Workload;
import io.millrace.server.config.ConfigException;
import io.millrace.server.console.ProgressBar;
import io.millrace.server.console.Table;
import io.millrace.server.console.Texts;
import java.io.IOException;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import picocli.CommandLine.TypeConversionException;

/** {@code millrace bench serve}: load on any server with OpenAI's API. */
@Command(name = "serve", sortOptions = false, header = "Put load on a server with OpenAI's API and measure what its clients see.%n",
        synopsisHeading = "Usage: ", customSynopsis = "./millrace bench serve [flags]")
final class BenchServeCommand implements Callable<Integer> {
    private static final Pattern ID_RANGE = Pattern.compile("(\\d+):(\\d+)");
    private static final int DEFAULT_PROMPTS = 200;

    @Spec
    private CommandSpec spec;

    @Option(names = "--base-url", defaultValue = "http://127.0.0.1:8000", paramLabel = "URL", converter = BaseUrl.class, description = "the server (default: ${DEFAULT-VALUE})")
    private URI baseUrl;

    @Option(names = "--model", paramLabel = "NAME", description = "model name to ask for (default: the first of /v1/models)")
    private String model;

    @Option(names = "--api-key", paramLabel = "KEY", description = "key to present (default: MILLRACE_API_KEY, OPENAI_API_KEY or none)")
    private String apiKey;

    @Option(names = "--endpoint", defaultValue = "completions", paramLabel = "completions|chat",
            description = "completions with token ids, or chat completions with text of about that length (default: ${DEFAULT-VALUE})")
    private String endpoint;

    @Option(names = "--dataset-name", defaultValue = "random", paramLabel = "random|trace", description = "random lengths, or a trace of arrivals and lengths (default: ${DEFAULT-VALUE})")
    private String dataset;

    @Option(names = "--dataset-path", paramLabel = "FILE", description = "the trace: lines of {\"t_ms\": 12, \"in\": 100, \"out\": 20}, or a CSV file of the Azure LLM inference traces")
    private Path datasetPath;

    @Mixin
    private WorkloadFlags flags;

    @Option(names = "--random-input-len", defaultValue = "64", paramLabel = "INT", description = "prompt tokens (default: ${DEFAULT-VALUE})")
    private int inputLen;

    @Option(names = "--random-output-len", defaultValue = "64", paramLabel = "INT", description = "output tokens (default: ${DEFAULT-VALUE})")
    private int outputLen;

    @Option(names = "--random-range-ratio", defaultValue = "0", paramLabel = "SHARE",
            description = "0.5: lengths vary between half and one and a half of those above (default: ${DEFAULT-VALUE})")
    private double rangeRatio;

    @Option(names = "--token-id-range", defaultValue = "10:250", paramLabel = "FIRST:LAST",
            description = "prompt ids are drawn from this range; keep it within the model's vocabulary (default: ${DEFAULT-VALUE})")
    private String idRange;

    @Option(names = "--request-rate", defaultValue = "inf", paramLabel = "PER-SECOND",
            description = "open loop: requests arrive as a Poisson process of this rate; inf sends all at once (default: ${DEFAULT-VALUE})")
    private String requestRate;

    @Option(names = "--trace-speed", defaultValue = "1", paramLabel = "FACTOR", description = "2: the trace's arrivals twice as fast (default: ${DEFAULT-VALUE})")
    private double traceSpeed;

    @Option(names = "--max-concurrency", paramLabel = "INT", description = "closed loop: so many requests in flight at most (default: no limit)")
    private Integer maxConcurrency;

    @Option(names = "--temperature", defaultValue = "0", paramLabel = "NUMBER", description = "of the requests (default: ${DEFAULT-VALUE})")
    private double temperature;

    @Option(names = "--no-ignore-eos", description = "let answers end early, and send only what OpenAI's API knows")
    private boolean respectEos;

    @Option(names = "--seed", defaultValue = "0", paramLabel = "INT", description = "of prompts, lengths and arrivals (default: ${DEFAULT-VALUE})")
    private long seed;

    @Option(names = "--timeout", defaultValue = "600", paramLabel = "SECONDS", description = "silence of a connection after which its request has failed (default: ${DEFAULT-VALUE})")
    private int timeout;

    @Option(names = "--json", paramLabel = "FILE", description = "write the figures as JSON")
    private Path json;

    @Mixin
    private MillraceCommand.Verbosity verbosity;

    @Override
    public Integer call() throws IOException, InterruptedException {
        Workload workload = workload();
        int concurrency = maxConcurrency == null ? workload.requests().size() : maxConcurrency;
        try (OpenAiClient client = new OpenAiClient(baseUrl, key(), Duration.ofSeconds(timeout))) {
            ServeBench.Options options = new ServeBench.Options(modelName(client), endpoint.equals("chat"), !respectEos, temperature, concurrency, flags.goodput());
            String error = ServeBench.probe(client, workload.requests().getFirst(), options);
            if (error != null) {
                refuseWithoutKey(error);
                throw new CommandFailure("CLI-011", "a first request to " + baseUrl + " failed: " + error
                        + "; check --base-url, --model, --token-id-range and --no-ignore-eos", ExitCodes.FAILURE);
            }
            ServeBench.Result result;
            try (ProgressBar progress = new ProgressBar("bench serve", workload.requests().size())) {
                result = ServeBench.run(client, workload, options, progress::update);
            }
            spec.commandLine().getOut().print(table(options, result));
            spec.commandLine().getOut().flush();
            result.errors().forEach(text -> System.err.println("failed request: " + text));
            JsonFile.write(json, "serve", settings(options, workload), result.toMap());
            return result.failed() == 0 ? ExitCodes.OK : ExitCodes.FAILURE;
        }
    }

    private String key() {
        for (String key : new String[] {apiKey, System.getenv("MILLRACE_API_KEY"), System.getenv("OPENAI_API_KEY")}) {
            if (key != null && !key.isBlank()) {
                return key.split(",")[0];
            }
        }
        return null;
    }

    private void refuseWithoutKey(String error) {
        if (error.startsWith("HTTP 401")) {
            throw new CommandFailure("CLI-011", baseUrl + " answered 401: it asks for a key" + (key() == null ? "" : " other than the one presented")
                    + "; give it with --api-key, or in MILLRACE_API_KEY or OPENAI_API_KEY", ExitCodes.FAILURE);
        }
    }

    /** {@code 127.0.0.1:8000} means {@code http://127.0.0.1:8000}. */
    static final class BaseUrl implements ITypeConverter<URI> {
        @Override
        public URI convert(String text) {
            String url = text.contains("://") ? text : "http://" + text;
            try {
                return new URI(url);
            } catch (URISyntaxException e) {
                throw new TypeConversionException("'" + text + "' is no URL; use one such as http://127.0.0.1:8000");
            }
        }
    }

    private String modelName(OpenAiClient client) {
        if (model != null) {
            return model;
        }
        try {
            return client.firstModel();
        } catch (IOException e) {
            refuseWithoutKey(String.valueOf(e.getMessage()));
            throw new CommandFailure("CLI-011", "no answer from " + baseUrl + "/v1/models: " + e.getMessage()
                    + "; start a server with ./millrace serve, or give --base-url and --model", ExitCodes.FAILURE, e);
        }
    }

    static void checkRange(double ratio) {
        if (!(ratio >= 0 && ratio < 1)) {
            throw new ConfigException(List.of("CLI-002: --random-range-ratio " + ratio + ": use a number from 0 to below 1"));
        }
    }

    private Workload workload() throws IOException {
        BenchFlags.positive("--num-prompts", flags.numPrompts(1), "--random-input-len", inputLen, "--random-output-len", outputLen, "--timeout", timeout,
                "--max-concurrency", maxConcurrency == null ? 1 : maxConcurrency);
        checkRange(rangeRatio);
        List<String> problems = new ArrayList<>();
        Matcher ids = ID_RANGE.matcher(idRange);
        if (!ids.matches()) {
            problems.add("CLI-002: --token-id-range '" + idRange + "': use FIRST:LAST such as 10:250");
        }
        if (!List.of("completions", "chat").contains(endpoint)) {
            problems.add("CLI-002: --endpoint '" + endpoint + "': use completions or chat");
        }
        if (!List.of("random", "trace").contains(dataset) || (dataset.equals("trace") && datasetPath == null)) {
            problems.add("CLI-002: --dataset-name '" + dataset + "': use random, or trace with --dataset-path FILE");
        }
        if (baseUrl.getHost() == null || !List.of("http", "https").contains(String.valueOf(baseUrl.getScheme()))) {
            problems.add("CLI-002: --base-url '" + baseUrl + "': use a URL such as http://127.0.0.1:8000");
        }
        double rate = rate(problems);
        if (!problems.isEmpty()) {
            throw new ConfigException(problems);
        }
        int first = Integer.parseInt(ids.group(1));
        int last = Math.max(first, Integer.parseInt(ids.group(2)));
        Workload workload = dataset.equals("trace") ? Workload.trace(datasetPath, flags.numPrompts(Integer.MAX_VALUE), traceSpeed, first, last, seed)
                : Workload.random(flags.numPrompts(DEFAULT_PROMPTS), inputLen, outputLen, rangeRatio, first, last, seed);
        return Double.isFinite(rate) ? workload.arrivingAt(rate, seed) : workload;
    }

    private double rate(List<String> problems) {
        try {
            double rate = requestRate.equals("inf") ? Double.POSITIVE_INFINITY : Double.parseDouble(requestRate);
            if (rate > 0) {
                return rate;
            }
        } catch (NumberFormatException e) {
            // Reported below, with the values that are not positive.
        }
        problems.add("CLI-002: --request-rate '" + requestRate + "': use requests per second above 0, or inf");
        return Double.NaN;
    }

    private Map<String, Object> settings(ServeBench.Options options, Workload workload) {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("base_url", baseUrl.toString());
        map.put("model_id", options.model());
        map.put("endpoint", endpoint);
        map.put("dataset_name", dataset);
        map.put("num_prompts", workload.requests().size());
        map.put("random_input_len", inputLen);
        map.put("random_output_len", outputLen);
        map.put("random_range_ratio", rangeRatio);
        map.put("request_rate", requestRate);
        map.put("max_concurrency", maxConcurrency);
        map.put("seed", seed);
        return map;
    }

    private String table(ServeBench.Options options, ServeBench.Result result) {
        Table table = new Table().heading(options.model() + " at " + baseUrl + ": " + (result.completed() + result.failed()) + " requests, rate "
                + requestRate + ", at most " + (maxConcurrency == null ? "all" : maxConcurrency) + " at once")
                .row("completed", Texts.count(result.completed()))
                .row("failed", Texts.count(result.failed()))
                .row("duration, s", Texts.rate(result.seconds()))
                .row("requests/s", Texts.rate(result.requestsPerSecond()))
                .row("output tokens/s", Texts.rate(result.outputTokensPerSecond()))
                .row("tokens/s, prompt and output", Texts.rate(result.totalTokensPerSecond()));
        if (result.goodputAsked()) {
            table.row("good requests/s", Texts.rate(result.good() / result.seconds()));
        }
        table.heading("").row("milliseconds", "mean", "median", "p90", "p95", "p99");
        row(table, "time to first token (TTFT)", result.ttft());
        row(table, "time per output token (TPOT)", result.tpot());
        row(table, "between texts (ITL)", result.itl());
        row(table, "whole request (E2E)", result.e2e());
        if (result.openLoop()) {
            row(table, "TTFT from sending", result.ttftSinceSent());
            row(table, "E2E from sending", result.e2eSinceSent());
            table.heading("").row("latest sending after its time, ms", Texts.rate(result.maxLagNanos() * 1e-6));
        }
        return table.toString();
    }

    private static void row(Table table, String label, Distribution values) {
        table.row(label, Texts.rate(values.meanMillis()), Texts.rate(values.millis(50)), Texts.rate(values.millis(90)), Texts.rate(values.millis(95)),
                Texts.rate(values.millis(99)));
    }
}
