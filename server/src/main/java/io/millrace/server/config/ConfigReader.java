package io.millrace.server.config;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Brings flags, variables, a YAML file and defaults together, in this order of precedence, and collects everything that is wrong
 * before complaining once.
 */
public final class ConfigReader {
    private static final String PREFIX = "MILLRACE_";
    /** Variables that are no settings of the server: the launcher's, the native libraries', and the name of the file of settings. */
    private static final Set<String> OTHER_VARIABLES = Set.of("MILLRACE_CONFIG", "MILLRACE_CACHE_DIR", "MILLRACE_CPU_ISA", "MILLRACE_JAVA_HOME",
            "MILLRACE_JAVA_OPTS", "MILLRACE_JVM_FOLDER", "MILLRACE_NO_BUILD", "MILLRACE_NO_AOT", "MILLRACE_LOCK_SECONDS");
    /** What Kubernetes sets in every pod for a Service named "millrace" or "millrace-something", in Docker's old form too. */
    private static final Pattern SERVICE_VARIABLE = Pattern.compile(
            "MILLRACE_([A-Z0-9_]*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)");

    private record Found(List<String> texts, String origin) {}

    private final Map<Setting<?>, Found> found = new LinkedHashMap<>();
    private final Map<Setting<?>, Object> values = new HashMap<>();
    /** Those whose text could not be read; their defaults stand in {@link #values}. */
    private final Set<Setting<?>> wrong = new HashSet<>();
    private final List<String> problems = new ArrayList<>();

    private ConfigReader() {}

    /**
     * For a command that loads a model.
     *
     * @param flags       texts by setting key as given on the command line
     * @param environment the process's variables
     * @param configFile  a YAML file or null; {@code MILLRACE_CONFIG} is used if null
     * @throws ConfigException with all problems
     */
    public static ServerConfig read(Map<String, List<String>> flags, Map<String, String> environment, Path configFile) {
        return read(List.of(), flags, environment, configFile, Rule.LOADING);
    }

    /**
     * The same for a server, which also needs a model that is there, and keys where its policy is about keys.
     *
     * @param before problems of the command line that are known already
     */
    public static ServerConfig readForServer(List<String> before, Map<String, List<String>> flags, Map<String, String> environment, Path configFile) {
        return read(before, flags, environment, configFile, Stream.concat(Rule.LOADING.stream(), Rule.SERVING.stream()).toList());
    }

    private static ServerConfig read(List<String> before, Map<String, List<String>> flags, Map<String, String> environment, Path configFile,
            List<Rule> rules) {
        ConfigReader reader = new ConfigReader();
        reader.problems.addAll(before);
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
        ServerConfig config = new ServerConfig(reader.values);
        for (Rule rule : rules) {
            if (Collections.disjoint(rule.about(), reader.wrong)) {
                rule.problem().apply(config).ifPresent(reader.problems::add);
            }
        }
        if (!reader.problems.isEmpty()) {
            throw new ConfigException(reader.problems);
        }
        return config;
    }

    private <T> void parse(Setting<T> setting) {
        Found given = found.get(setting);
        values.put(setting, setting.defaultValue());
        if (given == null) {
            return;
        }
        try {
            // A list that a template left empty is no list of nobody's keys: whoever writes api-key means to ask for one.
            if (given.texts().isEmpty()) {
                throw new IllegalArgumentException("it is given, but has no entry; give a value, or leave the setting away");
            }
            if (!setting.repeatable() && given.texts().size() > 1) {
                throw new IllegalArgumentException("give it once");
            }
            values.put(setting, setting.parser().parse(given.texts()));
        } catch (UnsupportedOperationException e) {
            wrong.add(setting);
            problems.add("CLI-003: " + given.origin() + " " + shown(setting, given.texts()) + ": " + e.getMessage());
        } catch (IllegalArgumentException e) {
            wrong.add(setting);
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
        environment.keySet().stream().sorted().forEach(this::refuseUnknownVariable);
    }

    /** A misspelt variable must not pass in silence: {@code MILLRACE_API_KEYS=secret} would leave the server open. */
    private void refuseUnknownVariable(String name) {
        if (!name.startsWith(PREFIX) || OTHER_VARIABLES.contains(name) || SERVICE_VARIABLE.matcher(name).matches()) {
            return;
        }
        if (Settings.ALL.stream().noneMatch(setting -> setting.variable().equals(name))) {
            Setting<?> near = Settings.nearest(name.substring(PREFIX.length()).toLowerCase(Locale.ROOT).replace('_', '-')).orElse(null);
            problems.add("CLI-001: the variable " + name + " is no setting"
                    + (near == null ? "; unset it, or see './millrace serve --help' for the settings (variables are MILLRACE_ and the name)"
                            : "; did you mean " + near.variable() + "? Otherwise unset it"));
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
            problems.add("CLI-004: " + file + " is not YAML: " + e.getOriginalMessage().lines().findFirst().orElse("")
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
        for (Object entry : value instanceof List<?> list ? list : Collections.singletonList(value)) {
            if (entry == null || entry instanceof Map || entry instanceof List) {
                wrong.add(setting);
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
        Setting<?> near = Settings.nearest(key.replace('_', '-')).orElse(null);
        return near == null ? "; './millrace serve --help' lists them" : "; did you mean '" + near.key() + "'?";
    }
}
