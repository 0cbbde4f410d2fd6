import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.channels.FileChannel;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** See {@code scripts/compare-llama}, which starts it. Every figure becomes a line {@code date,model,round,test,program,figure,value,others} of the CSV file. */
final class CompareLlama {
    private static final String HELP = """
            --tests prefill,decode,batched   what to measure (also: startup, http, throughput)
            --rounds 3           rounds; programs take turns, and which comes first changes
            --threads N          compute threads of both (default: all cores)
            --prompt 512         prompt tokens of prefill
            --generate 128       output tokens of decode
            --batch-sizes 1,4,16,32   of batched: prompts of 128 and 64 output tokens each
            --clients 16         of http and throughput: closed loop, prompts of 200 tokens, all different, 64 output tokens, streamed
            --requests 32        of http and throughput
            --programs llama,millrace   one of them alone
            --millrace-flags '--kv-cache-dtype float16'   more flags for every run of Millrace
            --limit 140          seconds after which a program is ended
            --csv compare-llama.csv   where figures are added""";

    /** A figure during which others took more of the processors than this is no figure. */
    private static final double DISTURBED = 0.05;

    private final ObjectMapper json = new ObjectMapper();
    private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private final Map<String, String> flags = new LinkedHashMap<>(Map.of("tests", "prefill,decode,batched", "rounds", "3", "prompt", "512", "generate", "128",
            "batch-sizes", "1,4,16,32", "clients", "16", "requests", "32", "limit", "140", "csv", "compare-llama.csv"));
    private final List<String> names = new ArrayList<>();
    private int round;
    /** Share of the machine's processor time that other processes took during the last run of a benchmark. */
    private double others;
    /** The server that a benchmark is talking to, or null. */
    private Process serving;
    private Path model;

    public static void main(String[] args) throws Exception {
        List<String> list = Arrays.asList(args);
        if (list.contains("--help")) {
            System.out.println(HELP);
            return;
        }
        CompareLlama compare = new CompareLlama();
        compare.flags.put("threads", String.valueOf(Runtime.getRuntime().availableProcessors()));
        compare.flags.put("programs", "llama,millrace");
        compare.flags.put("millrace-flags", "");
        boolean report = false;
        for (int i = 0; i < args.length; i++) {
            if (args[i].equals("--report")) {
                report = true;
            } else if (args[i].startsWith("--")) {
                compare.flags.put(args[i].substring(2), args[++i]);
            } else {
                compare.names.add(args[i]);
            }
        }
        if (report) {
            print(compare.names);
        } else {
            compare.run();
            print(List.of(compare.flags.get("csv")));
        }
    }

    private void run() throws Exception {
        if (names.size() < 2) {
            throw new IllegalArgumentException("give the folder of llama.cpp's programs and a GGUF file; --help says more");
        }
        for (String name : names.subList(1, names.size())) {
            model = Path.of(name);
            cache(model);
            for (round = 1; round <= Integer.parseInt(flags.get("rounds")); round++) {
                for (String test : flags.get("tests").split(",")) {
                    List<String> programs = new ArrayList<>(List.of(flags.get("programs").split(",")));
                    if (round % 2 == 0) {
                        programs = programs.reversed();
                    }
                    for (String program : programs) {
                        try {
                            measure(test, program.equals("millrace"));
                        } catch (IOException e) {
                            System.err.println(model.getFileName() + " " + test + " " + program + ": " + e.getMessage());
                        }
                    }
                }
            }
        }
    }

    /** Reads the file once, so that no program pays for the disk. */
    private static void cache(Path file) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocateDirect(1 << 20);
        try (FileChannel channel = FileChannel.open(file)) {
            while (channel.read(buffer.clear()) > 0) {
                // Only the page cache wants it.
            }
        }
    }

    private void measure(String test, boolean millrace) throws Exception {
        switch (test) {
            case "prefill" -> {
                if (millrace) {
                    JsonNode figures = bench("latency", "--batch-size", "1", "--input-len", flags.get("prompt"), "--output-len", "1", "--num-iters", "1", "--num-iters-warmup", "1");
                    add("prefill " + flags.get("prompt"), true, "tokens/s", figures.get("median_prompt_tokens_per_s").asDouble());
                    share("prefill " + flags.get("prompt"), "share of dot product peak", figures.get("prompt_share_of_peak"));
                } else {
                    llamaBench("prefill " + flags.get("prompt"), "-p", flags.get("prompt"), "-n", "0");
                }
            }
            case "decode" -> {
                if (millrace) {
                    // llama-bench generates from an empty context, too.
                    JsonNode figures = bench("latency", "--batch-size", "1", "--input-len", "1", "--output-len",
                            String.valueOf(Integer.parseInt(flags.get("generate")) + 1), "--num-iters", "1", "--num-iters-warmup", "0");
                    add("decode " + flags.get("generate"), true, "tokens/s", figures.get("median_generation_tokens_per_s").asDouble());
                    share("decode " + flags.get("generate"), "share of read bandwidth", figures.get("generation_share_of_read_bandwidth"));
                } else {
                    llamaBench("decode " + flags.get("generate"), "-p", "0", "-n", flags.get("generate"));
                }
            }
            case "batched" -> batched(millrace);
            case "startup" -> startup(millrace);
            case "http" -> overHttp(millrace);
            case "throughput" -> {
                if (millrace) {
                    JsonNode figures = bench("throughput", "--num-prompts", flags.get("requests"), "--input-len", "200", "--output-len", "64", "--max-num-seqs", flags.get("clients"));
                    add("without HTTP, " + flags.get("clients") + " at once", true, "output tokens/s", figures.get("output_tokens_per_second").asDouble());
                }
            }
            default -> throw new IllegalArgumentException("--tests " + test + " is not known; --help names them");
        }
    }

    private void llamaBench(String test, String... what) throws Exception {
        List<String> command = new ArrayList<>(List.of(names.getFirst() + "/llama-bench", "-m", model.toString(), "-t", flags.get("threads"), "-r", "1", "-o", "jsonl"));
        command.addAll(List.of(what));
        add(test, false, "tokens/s", json.readTree(output(command)).get("avg_ts").asDouble());
    }

    private void batched(boolean millrace) throws Exception {
        if (millrace) {
            JsonNode figures = bench("throughput", "--batch-size", flags.get("batch-sizes"), "--input-len", "128", "--output-len", "64", "--num-iters", "1", "--num-iters-warmup", "0");
            for (JsonNode batch : figures.get("batches")) {
                String test = "batch of " + batch.get("batch_size").asInt();
                add(test, true, "tokens/s", batch.get("median_generation_tokens_per_s").asDouble());
                share(test, "share of dot product peak", batch.get("generation_share_of_peak"));
                share(test, "share of read bandwidth", batch.get("generation_share_of_read_bandwidth"));
            }
            return;
        }
        int largest = Arrays.stream(flags.get("batch-sizes").split(",")).mapToInt(Integer::parseInt).max().orElse(1);
        String lines = output(List.of(names.getFirst() + "/llama-batched-bench", "-m", model.toString(), "-t", flags.get("threads"), "-c", String.valueOf(largest * 192 + 64), "-b", "2048", "-ub", "512",
                "-npp", "128", "-ntg", "64", "-npl", flags.get("batch-sizes"), "--output-format", "jsonl"));
        for (String line : lines.lines().filter(text -> text.startsWith("{")).toList()) {
            JsonNode batch = json.readTree(line);
            add("batch of " + batch.get("pl").asInt(), false, "tokens/s", batch.get("speed_tg").asDouble());
        }
    }

    private void startup(boolean millrace) throws Exception {
        try (Server server = new Server(millrace)) {
            double ready = server.awaitReady();
            add("start", millrace, "seconds to ready", ready);
            HttpRequest request = HttpRequest.newBuilder(server.uri("/v1/completions")).header("Content-Type", "application/json")
                    .POST(HttpRequest.BodyPublishers.ofString("{\"model\":\"m\",\"prompt\":[1,2,3],\"max_tokens\":1}")).build();
            HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IOException("HTTP " + answer.statusCode() + ": " + answer.body());
            }
            add("start", millrace, "seconds to first token", server.seconds());
            server.resident(millrace);
        }
    }

    private void overHttp(boolean millrace) throws Exception {
        try (Server server = new Server(millrace)) {
            server.awaitReady();
            // Only Millrace's own client: it takes the same from both servers.
            Path file = Files.createTempFile("compare", ".json");
            try {
                output(List.of(flags.get("millrace"), "bench", "serve", "--base-url", server.uri("").toString(), "--num-prompts", flags.get("requests"), "--max-concurrency", flags.get("clients"),
                        "--random-input-len", "200", "--random-output-len", "64", "--seed", String.valueOf(round), "--json", file.toString()));
                JsonNode figures = json.readTree(file.toFile());
                String test = "HTTP, " + flags.get("clients") + " clients";
                add(test, millrace, "output tokens/s", figures.get("output_throughput").asDouble());
                add(test, millrace, "TTFT p50 ms", figures.get("median_ttft_ms").asDouble());
                add(test, millrace, "ITL p50 ms", figures.get("median_itl_ms").asDouble());
                server.resident(millrace);
            } finally {
                Files.delete(file);
            }
        }
    }

    /** A server of one of both on a free port, ended by {@link #close}. */
    private final class Server implements AutoCloseable {
        private final int port;
        private final Path log = Files.createTempFile("compare", ".log");
        private final long start;
        private final Process process;
        private final boolean millrace;

        Server(boolean millrace) throws IOException {
            this.millrace = millrace;
            try (ServerSocket socket = new ServerSocket(0)) {
                port = socket.getLocalPort();
            }
            int clients = Integer.parseInt(flags.get("clients"));
            List<String> command = millrace
                    ? millrace("serve", "--model", model.toString(), "--port", String.valueOf(port), "--served-model-name", "m", "--max-num-seqs", flags.get("clients"))
                    : List.of(names.getFirst() + "/llama-server", "-m", model.toString(), "-t", flags.get("threads"), "--host", "127.0.0.1", "--port", String.valueOf(port), "-np", String.valueOf(clients), "-c",
                            String.valueOf(clients * 512), "--alias", "m");
            start = System.nanoTime();
            process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
            serving = process;
            others = 0;
        }

        URI uri(String path) {
            return URI.create("http://127.0.0.1:" + port + path);
        }

        double seconds() {
            return (System.nanoTime() - start) / 1e9;
        }

        double awaitReady() throws Exception {
            HttpRequest request = HttpRequest.newBuilder(uri(millrace ? "/ready" : "/health")).build();
            while (process.isAlive() && seconds() < Integer.parseInt(flags.get("limit"))) {
                try {
                    if (http.send(request, HttpResponse.BodyHandlers.discarding()).statusCode() == 200) {
                        return seconds();
                    }
                } catch (IOException e) {
                    // Not listening yet.
                }
                Thread.sleep(5);
            }
            throw new IOException("the server did not get ready: " + Files.readString(log));
        }

        void resident(boolean own) throws IOException {
            Path status = Path.of("/proc/" + process.pid() + "/status");
            if (Files.isReadable(status)) {
                for (String line : Files.readAllLines(status)) {
                    if (line.startsWith("VmRSS:")) {
                        add("memory", own, "resident MB", Double.parseDouble(line.replaceAll("\\D", "")) * 1024e-6);
                    }
                }
            }
        }

        @Override
        public void close() throws InterruptedException, IOException {
            serving = null;
            end(process);
            Files.delete(log);
        }
    }

    private static void end(Process process) throws InterruptedException {
        process.descendants().forEach(ProcessHandle::destroy);
        process.destroy();
        if (!process.waitFor(10, TimeUnit.SECONDS)) {
            process.destroyForcibly().waitFor();
        }
    }

    private List<String> millrace(String... args) {
        List<String> command = new ArrayList<>(List.of(flags.get("millrace")));
        command.addAll(List.of(args));
        command.addAll(List.of("--threads", flags.get("threads")));
        Arrays.stream(flags.get("millrace-flags").split(" ")).filter(flag -> !flag.isBlank()).forEach(command::add);
        return command;
    }

    /** One benchmark of Millrace on the model; the machine's limits that it measured are added. */
    private JsonNode bench(String name, String... args) throws Exception {
        Path file = Files.createTempFile("compare", ".json");
        try {
            List<String> command = new ArrayList<>(millrace("bench", name));
            command.addAll(List.of("--model", model.toString(), "--json", file.toString()));
            command.addAll(List.of(args));
            output(command);
            JsonNode figures = json.readTree(file.toFile());
            for (Map.Entry<String, JsonNode> limit : figures.path("limits").properties()) {
                write("machine", "machine", limit.getKey() + ", 1e9/s", limit.getValue().get("median").asDouble() * 1e-9);
            }
            return figures;
        } finally {
            Files.delete(file);
        }
    }

    /** Standard output of a program that ends with 0 in time. */
    private String output(List<String> command) throws Exception {
        Path out = Files.createTempFile("compare", ".out");
        Path err = Files.createTempFile("compare", ".err");
        Process process = new ProcessBuilder(command).redirectOutput(out.toFile()).redirectError(err.toFile()).start();
        try {
            long start = System.nanoTime();
            double busy = busySeconds();
            double own = 0;
            double served = serving == null ? 0 : cpuSeconds(serving, 0);
            while (!process.waitFor(50, TimeUnit.MILLISECONDS)) {
                own = cpuSeconds(process, own);
                if (System.nanoTime() - start > Integer.parseInt(flags.get("limit")) * 1e9) {
                    throw new IOException("not done after --limit " + flags.get("limit") + " s");
                }
            }
            own += serving == null ? 0 : cpuSeconds(serving, served) - served;
            others = Math.max(0, busySeconds() - busy - own) / ((System.nanoTime() - start) / 1e9) / Runtime.getRuntime().availableProcessors();
            if (process.exitValue() != 0) {
                throw new IOException(command + " ended with " + process.exitValue() + ": " + Files.readString(err).lines().limit(20).toList());
            }
            return Files.readString(out);
        } finally {
            end(process);
            Files.delete(out);
            Files.delete(err);
        }
    }

    private static double cpuSeconds(Process process, double unknown) {
        return process.info().totalCpuDuration().map(time -> time.toNanos() / 1e9).orElse(unknown);
    }

    /** Processor time that all processes of this machine have used; 0 where the system does not say. */
    private static double busySeconds() throws IOException {
        Path stat = Path.of("/proc/stat");
        if (!Files.isReadable(stat)) {
            return 0;
        }
        try (Stream<String> lines = Files.lines(stat)) {
            String[] cells = lines.findFirst().orElseThrow().trim().split(" +");
            return (Long.parseLong(cells[1]) + Long.parseLong(cells[2]) + Long.parseLong(cells[3])) / 100.0;
        }
    }

    private void share(String test, String figure, JsonNode share) throws IOException {
        if (share != null) {
            add(test, true, figure, share.asDouble());
        }
    }

    private void add(String test, boolean millrace, String figure, double value) throws IOException {
        write(test, millrace ? "millrace" : "llama.cpp", figure, value);
    }

    private void write(String test, String program, String figure, double value) throws IOException {
        String line = String.join(",", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString(), model.getFileName().toString(), String.valueOf(round), quoted(test), program, quoted(figure),
                String.format(Locale.ROOT, "%.6g", value), String.format(Locale.ROOT, "%.3f", others));
        Files.writeString(Path.of(flags.get("csv")), line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    private static String quoted(String text) {
        return text.contains(",") ? "\"" + text + "\"" : text;
    }

    /** model, test and figure -> program -> values */
    private static void print(List<String> files) throws IOException {
        Map<String, Map<String, List<Double>>> all = new LinkedHashMap<>();
        int disturbed = 0;
        for (String file : files) {
            for (String line : Files.readAllLines(Path.of(file))) {
                String[] cells = line.split(",(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)");
                if (Double.parseDouble(cells[7]) > DISTURBED) {
                    disturbed++;
                    continue;
                }
                all.computeIfAbsent(cells[1] + " | " + cells[3].replace("\"", "") + " | " + cells[5].replace("\"", ""), key -> new TreeMap<>())
                        .computeIfAbsent(cells[4], key -> new ArrayList<>()).add(Double.parseDouble(cells[6]));
            }
        }
        if (disturbed > 0) {
            System.out.println(disturbed + " figures are left out: other processes took more than " + 100 * DISTURBED + " % of the processors meanwhile\n");
        }
        System.out.println("| model | test | figure | llama.cpp | Millrace | ratio |\n|---|---|---|---|---|---|");
        all.entrySet().stream().sorted(Map.Entry.comparingByKey()).forEach(entry -> {
            List<Double> theirs = entry.getValue().getOrDefault("llama.cpp", List.of());
            List<Double> ours = entry.getValue().getOrDefault("millrace", entry.getValue().getOrDefault("machine", List.of()));
            System.out.println("| " + entry.getKey() + " | " + spread(theirs) + " | " + spread(ours) + " | "
                    + (theirs.isEmpty() || ours.isEmpty() ? "" : String.format(Locale.ROOT, "%.2f", median(ours) / median(theirs))) + " |");
        });
    }

    private static double median(List<Double> values) {
        List<Double> sorted = values.stream().sorted().toList();
        int n = sorted.size();
        return (sorted.get((n - 1) / 2) + sorted.get(n / 2)) / 2;
    }

    private static String spread(List<Double> values) {
        if (values.isEmpty()) {
            return "";
        }
        return number(median(values)) + " [" + number(values.stream().min(Double::compare).orElseThrow()) + ".." + number(values.stream().max(Double::compare).orElseThrow()) + "] of "
                + values.size();
    }

    private static String number(double value) {
        return String.format(Locale.ROOT, Math.abs(value) >= 100 ? "%.0f" : Math.abs(value) >= 10 ? "%.1f" : "%.2f", value);
    }
}
