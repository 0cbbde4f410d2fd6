package io.millrace.server.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The README's table against the settings. */
class SettingsTableTest {
    /** Property: the README lists every setting that this version honours, in the order of the help, with its form and its default. */
    @Test
    void readmeListsEverySetting() throws IOException {
        Path readme = Path.of(System.getProperty("millrace.root", ".")).resolve("README.md");
        assumeTrue(Files.isRegularFile(readme), "no " + readme);
        List<String> rows = Files.readAllLines(readme).stream().filter(line -> line.startsWith("| `--"))
                .map(line -> line.substring(0, line.indexOf(" | ", line.indexOf("` | ") + 4) + 2)).toList();
        List<String> expected = Settings.ALL.stream().filter(setting -> setting.group() != Setting.Group.LATER)
                .map(setting -> "| `" + setting.flag() + (setting.placeholder().isEmpty() ? "" : " " + setting.placeholder().replace("|", "\\|"))
                        + "` | " + (setting.defaultText().isEmpty() ? "" : "`" + setting.defaultText() + "`") + " |").toList();
        assertThat(rows).isEqualTo(expected);
    }
}
