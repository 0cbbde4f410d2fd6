package io.millrace.server.cli;

import io.millrace.engine.LoadedModel;
import io.millrace.scheduler.GenerationService;
import io.millrace.scheduler.SchedulingPolicy;
import io.millrace.server.bench.StartUpTraining;
import io.millrace.server.config.ServerConfig;
import io.millrace.server.config.Settings;
import io.millrace.server.console.Texts;
import io.millrace.server.http.HttpServer;
import io.millrace.server.http.HttpServerConfig;
import io.millrace.server.serving.Generation;
import io.millrace.server.serving.SchedulerMetrics;
import io.millrace.telemetry.HttpMetrics;
import io.millrace.telemetry.MetricRegistry;
import java.io.IOException;
import java.io.PrintStream;
import java.lang.System.Logger.Level;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;

/** The server, from its settings until a signal ends it. Nothing here knows picocli, which costs a start more than the rest of the command line. */
final class ServeRun {
    private static final System.Logger LOG = System.getLogger("io.millrace.server");
    private static final Duration STATS_INTERVAL = Duration.ofSeconds(5);
    private static final Duration FAILURE_POLL = Duration.ofMillis(500);
    /** How failures of a lost device begin. */
    private static final String DEVICE_LOST = "CUDA-006:";

    private ServeRun() {}

    /**
     * @param trainStartUp whether to serve a few requests of its own and end: what the JVM learns then goes into the start-up cache
     * @param runtime      from the launcher to here
     * @return the exit code
     */
    static int serve(ServerConfig config, boolean trainStartUp, Duration runtime) throws Exception {
        checkAddress(config);
        AtomicReference<SchedulerMetrics> metrics = new AtomicReference<>();
        AtomicReference<HttpMetrics> httpMetrics = new AtomicReference<>();
        Generation generation = Generation.open(config, model -> {
            MetricRegistry registry = MetricRegistry.forModel(config.modelNames(model.name()).getFirst());
            metrics.set(SchedulerMetrics.register(registry, model.engine().limits(), model.engine().kvCacheDtype(), config.get(Settings.ENABLE_PREFIX_CACHING)));
            httpMetrics.set(new HttpMetrics(registry));
            return metrics.get();
        });
        Duration loaded = sinceStart();
        HttpServer server;
        try {
            server = HttpServer.start(httpConfig(config, generation.model()), generation.model(), generation.service(),
                    out -> metrics.get().writeText(generation.service(), out), httpMetrics.get());
        } catch (RuntimeException e) {
            generation.close();
            throw isAddressFailure(e) ? addressFailure(config, e) : e;
        }
        report(config, generation, server.port());
        LOG.log(Level.INFO, StartUpTimes.line(sinceStart(), runtime, loaded, generation.model().phases()) + ", "
                + Texts.count(generation.service().limits().maxModelLen()) + " tokens per sequence" + packing(generation.model().engine().bytesToPack()));
        generation.packWhileIdle();
        if (trainStartUp) {
            StartUpTraining.run(server.port(), config.get(Settings.API_KEY));
            StartUpTraining.loadGguf(config.engineConfig());
            server.close();
            generation.close();
            return ExitCodes.OK;
        }
        Runtime.getRuntime().addShutdownHook(new Thread(() -> shutDown(config, generation, server), "millrace-shutdown"));
        EndSignals.install(() -> {
            var status = generation.service().status();
            return status.numRunning() + status.numWaiting();
        });
        if (!config.get(Settings.DISABLE_LOG_STATS)) {
            logStats(metrics.get(), generation.service());
        }
        // A signal's hook ends the process; this thread only sees to it that a lost device does too.
        while (true) {
            Thread.sleep(FAILURE_POLL);
            String failure = generation.service().status().failure();
            if (failure != null && failure.startsWith(DEVICE_LOST)) {
                LOG.log(Level.ERROR, "the device is lost, and with it all that it held; this process ends, a new one may work: " + failure);
                // Requests have their errors; whoever restarts servers waits for this.
                System.exit(ExitCodes.DEVICE_LOST);
            }
        }
    }

    private static String packing(long bytes) {
        // Less is done within a few steps.
        return bytes < 64L << 20 ? "" : "; " + Texts.bytes(bytes) + " of weights are packed while it is idle, and in its first steps";
    }

    private static HttpServerConfig httpConfig(ServerConfig config, LoadedModel model) {
        return HttpServerConfig.builder().host(config.get(Settings.HOST)).port(config.get(Settings.PORT)).servedModelNames(config.modelNames(model.name()))
                .apiKeys(config.get(Settings.API_KEY)).generationConfigFromModel(config.modelDefaults()).baseSeed(config.get(Settings.SEED)).version(Version.text())
                .shutdownTimeout(config.get(Settings.SHUTDOWN_TIMEOUT)).toolCallParser(config.get(Settings.TOOL_CALL_PARSER))
                .reasoningParser(config.get(Settings.REASONING_PARSER))
                .priorities(config.schedulingPolicy() == SchedulingPolicy.PRIORITY).build();
    }

    /** A taken port is known before gigabytes are read. */
    private static void checkAddress(ServerConfig config) {
        try (ServerSocket socket = new ServerSocket()) {
            socket.bind(new InetSocketAddress(config.get(Settings.HOST), config.get(Settings.PORT)));
        } catch (IOException | IllegalArgumentException e) {
            throw addressFailure(config, e);
        }
    }

    private static boolean isAddressFailure(Throwable failure) {
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            if (cause instanceof java.net.BindException) {
                return true;
            }
        }
        return false;
    }

    private static CommandFailure addressFailure(ServerConfig config, Exception cause) {
        boolean unresolved = new InetSocketAddress(config.get(Settings.HOST), 0).isUnresolved();
        String why = unresolved ? "the host name is not known; give an address of this machine, such as --host 127.0.0.1"
                : cause.getMessage() + "; choose another --port (0 takes a free one) or --host, or end the process that listens there";
        return new CommandFailure("SRV-002", "cannot listen on " + config.get(Settings.HOST) + ":" + config.get(Settings.PORT) + ": " + why, ExitCodes.ADDRESS, cause);
    }

    private static void report(ServerConfig config, Generation generation, int port) {
        PrintStream out = System.err;
        StringBuilder text = new StringBuilder(1024);
        List<String> names = config.modelNames(generation.model().name());
        text.append("\n  Millrace ").append(Version.text()).append("\n\n");
        text.append("  serving  ").append(String.join(", ", names))
                .append(generation.model().chatTemplate().isPresent() ? "" : "  (no chat template: completions only)").append('\n');
        for (String line : generation.model().report()) {
            text.append("  ").append(line).append('\n');
        }
        text.append("  queue    ").append(Texts.count(config.get(Settings.MAX_NUM_QUEUED_REQS))).append(" waiting requests, then 429; prompts in chunks of ")
                .append(Texts.count(generation.schedulerConfig().maxPrefillChunk())).append(" tokens\n");
        text.append("  access   ").append(config.get(Settings.API_KEY).isEmpty() ? "no API key asked for" : config.get(Settings.API_KEY).size() + " API key(s)").append('\n');
        String host = config.get(Settings.HOST).contains(":") ? "[" + config.get(Settings.HOST) + "]" : config.get(Settings.HOST);
        String url = "http://" + (host.equals("0.0.0.0") ? "127.0.0.1" : host) + ":" + port + "/v1";
        text.append("\n  ").append(url).append("\n\n  curl ").append(url).append("/completions -H 'Content-Type: application/json'")
                .append(config.get(Settings.API_KEY).isEmpty() ? "" : " -H 'Authorization: Bearer KEY'")
                .append(" -d '{\"model\": \"").append(names.getFirst()).append("\", \"prompt\": \"Once upon a time\", \"max_tokens\": 60}'\n");
        out.println(text);
        if (config.get(Settings.API_KEY).isEmpty() && !isLoopback(config.get(Settings.HOST))) {
            LOG.log(Level.WARNING, "listening on " + config.get(Settings.HOST) + " without an API key: anyone who reaches this machine can use it; set --api-key");
        }
    }

    private static boolean isLoopback(String host) {
        InetSocketAddress address = new InetSocketAddress(host, 0);
        return !address.isUnresolved() && address.getAddress().isLoopbackAddress();
    }

    /** Since the launcher started Java; without it, or where its shell cannot tell the time, since the process began. */
    static Duration sinceStart() {
        try {
            String started = System.getProperty("millrace.started");
            if (started != null) {
                // The shell writes the decimal sign of its locale.
                long millis = Math.round(Double.parseDouble(started.replace(',', '.')) * 1000);
                return Duration.ofMillis(Math.max(0, System.currentTimeMillis() - millis));
            }
            // Exact to a tick of 10 ms; ProcessHandle's start is off by up to a second, since it adds the whole seconds of boot time.
            String stat = Files.readString(Path.of("/proc/self/stat"));
            long startTicks = Long.parseLong(stat.substring(stat.lastIndexOf(')') + 2).split(" ")[19]);
            double uptime = Double.parseDouble(Files.readString(Path.of("/proc/uptime")).split(" ")[0]);
            return Duration.ofMillis(Math.round(uptime * 1000 - startTicks * 10.0));
        } catch (IOException | RuntimeException e) {
            return ProcessHandle.current().info().startInstant().map(start -> Duration.between(start, Instant.now())).orElse(Duration.ZERO);
        }
    }

    private static void logStats(SchedulerMetrics metrics, GenerationService service) {
        Thread.ofPlatform().daemon().name("millrace-stats").start(() -> {
            while (true) {
                try {
                    Thread.sleep(STATS_INTERVAL);
                } catch (InterruptedException e) {
                    return;
                }
                String line = metrics.line(service);
                if (line != null) {
                    LOG.log(Level.INFO, line);
                }
            }
        });
    }

    /** Runs in the shutdown hook: from here on /ready answers 503, running requests end by themselves or with the timeout. */
    private static void shutDown(ServerConfig config, Generation generation, HttpServer server) {
        var status = generation.service().status();
        int open = status.numRunning() + status.numWaiting();
        LOG.log(Level.INFO, open == 0 ? "shutting down" : "shutting down: " + open + " sequences may finish within "
                + config.get(Settings.SHUTDOWN_TIMEOUT).toSeconds() + " s; a second signal ends them at once");
        server.close();
        generation.close();
        LOG.log(Level.INFO, "ended");
    }
}
