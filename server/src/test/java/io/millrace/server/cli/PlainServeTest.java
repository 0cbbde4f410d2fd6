package io.millrace.server.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.server.config.ConfigReader;
import io.millrace.server.config.ServerConfig;
import io.millrace.server.config.Setting;
import io.millrace.server.config.Settings;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

/** The short way through a plain command line ends at the settings that picocli would find, or leaves it to picocli. */
class PlainServeTest {
    private static ServerConfig byPicocli(String... args) {
        CommandLine.ParseResult parsed = ServeCommand.create().parseArgs(List.of(MillraceCommand.plain(args)).subList(1, args.length).toArray(String[]::new));
        return SettingOptions.read(parsed, parsed.matchedPositionalValue(0, null));
    }

    private static ServerConfig plain(String... args) {
        return ConfigReader.read(PlainServe.flags(args).orElseThrow(), Map.of(), null);
    }

    @ParameterizedTest
    @ValueSource(strings = {"serve", "serve model.gguf", "serve --model model.gguf --port 0 --host 127.0.0.1", "serve --model=a=b --threads 2",
        "serve folder --no-enable-prefix-caching --disable-log-stats", "serve --async-scheduling folder --max_num_seqs 4k",
        "serve --api-key one --api-key two --served-model-name a --served-model-name=b", "serve --gpu-memory-utilization 0.3 --tensor-parallel-size 1",
        "serve --kv-cache-memory-bytes 2GiB --seed 7 --scheduling-policy fair", "serve --enable-chunked-prefill"})
    void givesWhatPicocliGives(String line) {
        String[] args = line.split(" ");
        assertThat(plain(args)).isEqualTo(byPicocli(args));
    }

    /** Property: every setting, given in both spellings, is read alike. */
    @Test
    void everySetting() {
        List<String> both = new ArrayList<>(List.of("serve"));
        for (Setting<?> setting : Settings.ALL) {
            String value = setting == Settings.MODEL ? "m" : setting == Settings.API_KEY || setting == Settings.SERVED_MODEL_NAME ? "x" : setting.defaultText();
            if (setting.kind() == Setting.Kind.SWITCH) {
                both.add(Boolean.parseBoolean(value) ? setting.flag() : "--no-" + setting.key());
            } else {
                both.add(setting.flag());
                both.add(value);
            }
        }
        assertThat(plain(both.toArray(String[]::new))).isEqualTo(byPicocli(both.toArray(String[]::new)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "run hello", "--version", "serve --help", "serve -h", "serve -m model", "serve --config f.yaml", "serve a b", "serve --port",
        "serve --port --host x", "serve --prot 1", "serve --enable-prefix-caching=true", "serve --no-port 1", "serve @file", "serve -- a", "serve --m x", "serve --tp 1",
        "serve --verbose", "serve --async-scheduling --no-async-scheduling", "serve --model $HOME", "serve --threads -1"})
    void leavesTheRestToPicocli(String line) {
        assertThat(PlainServe.flags(line.split(" "))).isEmpty();
    }

    /** Property: a value that is refused, and a model that is not there, end a plain line as picocli's way ends it. */
    @Test
    void wrongValuesAreTold() {
        assertThat(PlainServe.execute("serve", "--port", "none").orElse(0)).isEqualTo(ExitCodes.USAGE);
        assertThat(PlainServe.execute("serve", "--model", Path.of("/nowhere").toString()).orElse(0)).isEqualTo(ExitCodes.USAGE);
    }
}
