package io.millrace.server.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ConfigReaderTest {
    @TempDir
    private Path folder;

    private static Map<String, List<String>> flags(String... keysAndValues) {
        Map<String, List<String>> flags = new java.util.LinkedHashMap<>();
        for (int i = 0; i < keysAndValues.length; i += 2) {
            flags.put(keysAndValues[i], List.of(keysAndValues[i + 1]));
        }
        return flags;
    }

    private Path yaml(String text) throws IOException {
        return Files.writeString(folder.resolve("server.yaml"), text);
    }

    /** Property: a flag beats a variable, a variable beats the file, the file beats the default. */
    @Test
    void precedence() throws IOException {
        Path file = yaml("port: 1\nhost: 10.0.0.1\nmax-num-seqs: 11\n");
        Map<String, String> variables = Map.of("MILLRACE_PORT", "2", "MILLRACE_HOST", "10.0.0.2");
        ServerConfig config = ConfigReader.read(flags("port", "3"), variables, file);
        assertThat(config.get(Settings.PORT)).isEqualTo(3);
        assertThat(config.get(Settings.HOST)).isEqualTo("10.0.0.2");
        assertThat(config.get(Settings.MAX_NUM_SEQS)).isEqualTo(11);
        assertThat(config.get(Settings.BLOCK_SIZE)).isEqualTo(16);
    }

    /** Property: the file may also be named by a variable, and keys may be written with underscores or by vLLM's alias. */
    @Test
    void spellings() throws IOException {
        Path file = yaml("max_model_len: 4k\ngpu-memory-utilization: 0.25\nkv_cache_memory_bytes: 512M\napi-key: [one, two]\ndisable_log_stats: true\n");
        ServerConfig config = ConfigReader.read(Map.of(), Map.of("MILLRACE_CONFIG", file.toString()), null);
        assertThat(config.get(Settings.MAX_MODEL_LEN)).isEqualTo(4000);
        assertThat(config.get(Settings.MEMORY_UTILIZATION)).isEqualTo(0.25);
        assertThat(config.get(Settings.KV_CACHE_MEMORY_BYTES)).isEqualTo(512L << 20);
        assertThat(config.get(Settings.API_KEY)).containsExactly("one", "two");
        assertThat(!config.get(Settings.DISABLE_LOG_STATS)).isFalse();
    }

    /** Property: everything that is wrong is said at once, each with its code, its origin and what would be right. */
    @Test
    void allProblemsTogether() throws IOException {
        Path file = yaml("max-num-sequences: 3\nport: http\nhost:\nthreads: {a: 1}\n");
        assertThatThrownBy(() -> ConfigReader.read(flags("block-size", "12", "tensor-parallel-size", "2"), Map.of("MILLRACE_BACKEND", "tpu"), file))
                .isInstanceOfSatisfying(ConfigException.class, e -> assertThat(e.problems()).hasSize(7)
                        .anySatisfy(p -> assertThat(p).startsWith("CLI-001").contains("max-num-sequences", "did you mean 'max-num-seqs'"))
                        .anySatisfy(p -> assertThat(p).startsWith("CLI-002").contains("server.yaml: port", "'http'", "0 to 65535"))
                        .anySatisfy(p -> assertThat(p).startsWith("CLI-002").contains("host"))
                        .anySatisfy(p -> assertThat(p).startsWith("CLI-002").contains("threads"))
                        .anySatisfy(p -> assertThat(p).startsWith("CLI-002").contains("--block-size", "12", "power of two"))
                        .anySatisfy(p -> assertThat(p).startsWith("CLI-002").contains("MILLRACE_BACKEND", "tpu", "cpu, cuda, auto, reference"))
                        .anySatisfy(p -> assertThat(p).startsWith("CLI-003").contains("--tensor-parallel-size", "only 1")));
    }

    /** Property: what a later version will do is refused today, and the value that says "no" is accepted. */
    @Test
    void laterSettings() {
        assertThatThrownBy(() -> ConfigReader.read(flags("quantization", "awq"), Map.of(), null)).hasMessageContaining("CLI-003");
        ConfigReader.read(flags("quantization", "none", "tensor-parallel-size", "1", "dtype", "auto"), Map.of(), null);
    }

    /** Property: values that contradict each other are refused although each is right alone. */
    @Test
    void contradictions() {
        assertThatThrownBy(() -> ConfigReader.read(flags("max-num-seqs", "64", "max-num-batched-tokens", "32"), Map.of(), null))
                .hasMessageContaining("CLI-005").hasMessageContaining("64").hasMessageContaining("32");
    }

    /** Property: a key is never printed, not even a wrong one. */
    @Test
    void secretsStaySecret() {
        assertThatThrownBy(() -> ConfigReader.read(Map.of("api-key", List.of("s3cret", "")), Map.of(), null))
                .hasMessageContaining("--api-key").hasMessageNotContaining("s3cret");
    }

    /** Property: the variable that Kubernetes sets for a Service named "millrace" is no port. */
    @Test
    void kubernetesServiceVariable() {
        assertThat(ConfigReader.read(Map.of(), Map.of("MILLRACE_PORT", "tcp://10.96.0.12:8000"), null).get(Settings.PORT)).isEqualTo(8000);
    }

    /** Property: nor are the other variables it sets beside a Service of ours, nor the launcher's own, taken for misspelt settings. */
    @Test
    void variablesOfOthers() {
        Map<String, String> variables = new java.util.HashMap<>();
        for (String name : List.of("MILLRACE_SERVICE_HOST", "MILLRACE_SERVICE_PORT", "MILLRACE_SERVICE_PORT_HTTP", "MILLRACE_PORT_8000_TCP",
                "MILLRACE_PORT_8000_TCP_PROTO", "MILLRACE_PORT_8000_TCP_ADDR", "MILLRACE_API_PORT", "MILLRACE_API_SERVICE_HOST",
                "MILLRACE_JAVA_OPTS", "MILLRACE_NO_BUILD", "MILLRACE_CACHE_DIR", "MILLRACE_CPU_ISA", "PATH")) {
            variables.put(name, "tcp://10.96.0.12:8000");
        }
        assertThat(ConfigReader.read(Map.of(), variables, null).get(Settings.PORT)).isEqualTo(8000);
    }

    /** Property: a misspelt variable ends the start, so that a key is never believed to be set when it is not; its value stays unsaid. */
    @Test
    void misspeltVariable() {
        assertThatThrownBy(() -> ConfigReader.read(Map.of(), Map.of("MILLRACE_API_KEYS", "s3cret", "MILLRACE_NONSENSE_ALTOGETHER", "1"), null))
                .isInstanceOfSatisfying(ConfigException.class, e -> assertThat(e.problems()).hasSize(2)
                        .anySatisfy(p -> assertThat(p).startsWith("CLI-001").contains("MILLRACE_API_KEYS", "did you mean MILLRACE_API_KEY?"))
                        .anySatisfy(p -> assertThat(p).startsWith("CLI-001").contains("MILLRACE_NONSENSE_ALTOGETHER", "--help")))
                .hasMessageNotContaining("s3cret");
    }

    /** Property: a setting that is given without an entry is a mistake, never the default: for api-key the default is an open server. */
    @Test
    void givenButEmpty() throws IOException {
        for (String text : List.of(",", "", ",,", " ")) {
            assertThatThrownBy(() -> ConfigReader.read(Map.of(), Map.of("MILLRACE_API_KEY", text), null)).as("'%s'", text)
                    .hasMessageContaining("CLI-002").hasMessageContaining("MILLRACE_API_KEY");
        }
        Path file = yaml("api-key: []\n");
        assertThatThrownBy(() -> ConfigReader.read(Map.of(), Map.of(), file)).hasMessageContaining("CLI-002").hasMessageContaining("api-key");
        Path model = yaml("model: []\n");
        assertThatThrownBy(() -> ConfigReader.read(Map.of(), Map.of(), model)).hasMessageContaining("CLI-002").hasMessageContaining("model");
    }

    /** Property: broken files are refused with their place, not with a stack. */
    @Test
    void brokenFiles() throws IOException {
        Path list = yaml("- a\n- b\n");
        assertThatThrownBy(() -> ConfigReader.read(Map.of(), Map.of(), list)).hasMessageContaining("CLI-004").hasMessageContaining("key: value");
        Path broken = yaml("port: [1\nhost: 2\n");
        assertThatThrownBy(() -> ConfigReader.read(Map.of(), Map.of(), broken)).hasMessageContaining("CLI-004").hasMessageContaining("line");
        assertThatThrownBy(() -> ConfigReader.read(Map.of(), Map.of(), folder.resolve("absent.yaml"))).hasMessageContaining("CLI-004");
        assertThat(ConfigReader.read(Map.of(), Map.of(), yaml("")).get(Settings.PORT)).isEqualTo(8000);
    }

    /** Property: a missing model says what was looked for, and a hub name gets the remedy. */
    @Test
    void modelPath() throws IOException {
        assertThatThrownBy(() -> ConfigReader.read(flags("model", "no/where/here"), Map.of(), null).modelPath()).hasMessageContaining("CLI-006");
        assertThatThrownBy(() -> ConfigReader.read(flags("model", "meta-llama/Llama-3.2-1B"), Map.of(), null).modelPath())
                .hasMessageContaining("hf download meta-llama/Llama-3.2-1B");
        Path file = Files.createFile(folder.resolve("model.bin"));
        assertThatThrownBy(() -> ConfigReader.read(flags("model", file.toString()), Map.of(), null).modelPath()).hasMessageContaining("is a file");
        Path gguf = Files.createFile(folder.resolve("model.GGUF"));
        assertThat(ConfigReader.read(flags("model", gguf.toString()), Map.of(), null).modelPath()).isEqualTo(gguf);
        assertThat(ConfigReader.read(flags("model", folder.toString()), Map.of(), null).modelPath()).isEqualTo(folder);
    }

    /** Property: each key, alias and variable names one setting, and each default is a value its own parser accepts. */
    @Test
    void tableIsConsistent() {
        Set<String> names = new HashSet<>();
        for (Setting<?> setting : Settings.ALL) {
            assertThat(names.add(setting.key())).as(setting.key()).isTrue();
            setting.aliases().forEach(alias -> assertThat(names.add(alias)).as(alias).isTrue());
            assertThat(setting.description()).as(setting.key()).isNotBlank();
            setting.defaultValue();
        }
    }
}
