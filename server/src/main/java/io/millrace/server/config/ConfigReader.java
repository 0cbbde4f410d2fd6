package io.millrace.server.config;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Brings flags, variables, a YAML file and defaults together, in this order of precedence, and collects everything that is wrong
 * before complaining once.
 */
public final class ConfigReader {
    private record Found(List<String> texts, String origin) {}

    private final Map<Setting<?>, Found> found = new LinkedHashMap<>();
    private final Map<Setting<?>, Object> values = new HashMap<>();
    private final List<String> problems = new ArrayList<>();

    private ConfigReader() {}

    /**
     * @param flags       texts by setting key as given on the command line
     * @param environment the process's variables
     * @param configFile  a YAML file or null; {@code MILLRACE_CONFIG} is used if null
     * @throws ConfigException with all problems
     */
    public static ServerConfig read(Map<String, List<String>> flags, Map<String, String> environment, Path configFile) {
        ConfigReader reader = new ConfigReader();
        String fileVariable = environment.get("MILLRACE_CONFIG");
        Path file = configFile != null || fileVariable == null ? configFile : Path.of(fileVariable);
        if (file != null) {
            reader.readYaml(file);
        }
        reader.readEnvironment(environment);
        flags.forEach((key, texts) -> Settings.find(key).ifPresent(setting -> reader.found.put(setting, new Found(texts, setting.flag()))));
        for (Setting<?> setting : Settings.ALL) {
            reader.parse(setting);
        }
        if (!reader.problems.isEmpty()) {
            throw new ConfigException(reader.problems);
        }
        ServerConfig config = ServerConfig.of(reader);
        List<String> contradictions = config.contradictions();
        if (!contradictions.isEmpty()) {
            throw new ConfigException(contradictions);
        }
        return config;
    }

    @SuppressWarnings("unchecked")
    <T> T get(Setting<T> setting) {
        return (T) values.get(setting);
    }

    private <T> void parse(Setting<T> setting) {
        Found given = found.get(setting);
        if (given == null) {
            values.put(setting, setting.defaultValue());
            return;
        }
        try {
            if (!setting.repeatable() && given.texts().size() > 1) {
                throw new IllegalArgumentException("give it once");
            }
            values.put(setting, setting.parser().parse(given.texts()));
        } catch (UnsupportedOperationException e) {
            problems.add("CLI-003: " + given.origin() + " " + shown(setting, given.texts()) + ": " + e.getMessage());
        } catch (IllegalArgumentException e) {
            problems.add("CLI-002: " + given.origin() + " " + shown(setting, given.texts()) + ": " + e.getMessage());
        }
    }

    /** Keys are secrets: never print one. */
    private static String shown(Setting<?> setting, List<String> texts) {
        return setting == Settings.API_KEY ? "(value hidden)" : "'" + String.join(",", texts) + "'";
    }

    private void readEnvironment(Map<String, String> environment) {
        for (Setting<?> setting : Settings.ALL) {
            String text = environment.get(setting.variable());
            if (text == null) {
                continue;
            }
            // Kubernetes sets MILLRACE_PORT=tcp://10.0.0.1:8000 in every pod beside a Service named "millrace".
            if (setting == Settings.PORT && text.startsWith("tcp://")) {
                continue;
            }
            List<String> texts = setting.repeatable() ? List.of(text.split(",")) : List.of(text);
            found.put(setting, new Found(texts, setting.variable() + "="));
        }
    }

    private void readYaml(Path file) {
        Map<?, ?> entries;
        try {
            if (!Files.isRegularFile(file)) {
                problems.add("CLI-004: --config '" + file + "' is no file; give the path of a YAML file");
                return;
            }
            // A tree first: an empty file, or one of comments only, is no value but no mistake either.
            YAMLMapper yaml = new YAMLMapper();
            JsonNode tree = yaml.readTree(Files.readAllBytes(file));
            if (tree.isMissingNode() || tree.isNull()) {
                return;
            }
            Object root = yaml.treeToValue(tree, Object.class);
            if (!(root instanceof Map<?, ?> map)) {
                problems.add("CLI-004: " + file + " must hold 'key: value' lines, found a " + root.getClass().getSimpleName());
                return;
            }
            entries = map;
        } catch (JsonProcessingException e) {
            problems.add("CLI-004: " + file + " is not YAML: " + e.getOriginalMessage()
                    + (e.getLocation() == null ? "" : " (line " + e.getLocation().getLineNr() + ")"));
            return;
        } catch (IOException e) {
            problems.add("CLI-004: " + file + " cannot be read: " + e.getMessage());
            return;
        }
        entries.forEach((key, value) -> takeYaml(file, String.valueOf(key), value));
    }

    private void takeYaml(Path file, String key, Object value) {
        String origin = file.getFileName() + ": " + key;
        Setting<?> setting = Settings.find(key).orElse(null);
        if (setting == null) {
            problems.add("CLI-001: " + origin + " is no setting" + suggestion(key));
            return;
        }
        List<String> texts = new ArrayList<>();
        for (Object entry : value instanceof List<?> list ? list : java.util.Collections.singletonList(value)) {
            if (entry == null || entry instanceof Map || entry instanceof List) {
                problems.add("CLI-002: " + origin + " has no plain value; give a text, a number, true or false");
                return;
            }
            texts.add(String.valueOf(entry));
        }
        if (found.put(setting, new Found(texts, origin)) != null) {
            problems.add("CLI-002: " + origin + " stands twice in the file, under two spellings; keep one");
        }
    }

    static String suggestion(String key) {
        String kebab = key.replace('_', '-');
        Setting<?> best = null;
        int bestDistance = Math.max(2, kebab.length() / 3) + 1;
        for (Setting<?> setting : Settings.ALL) {
            int distance = editDistance(kebab, setting.key());
            if (distance < bestDistance) {
                bestDistance = distance;
                best = setting;
            }
        }
        return best == null ? "; './millrace serve --help' lists them" : "; did you mean '" + best.key() + "'?";
    }

    private static int editDistance(String a, String b) {
        int[] row = new int[b.length() + 1];
        for (int j = 0; j <= b.length(); j++) {
            row[j] = j;
        }
        for (int i = 1; i <= a.length(); i++) {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.length(); j++) {
                int substituted = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.min(substituted, Math.min(row[j], row[j - 1]) + 1);
            }
        }
        return row[b.length()];
    }
}
