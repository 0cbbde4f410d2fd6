package io.millrace.server.cli;

import io.millrace.server.config.ConfigReader;
import io.millrace.server.config.ServerConfig;
import io.millrace.server.config.Setting;
import io.millrace.server.config.Settings;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import picocli.CommandLine.Model.ArgGroupSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/**
 * The table of {@link Settings} as picocli options. Values pass as text to {@link ConfigReader}, which alone knows their form, so that a
 * flag, a YAML key and a variable are read and refused alike.
 */
final class SettingOptions {
    private static final String CONFIG = "--config";

    private SettingOptions() {}

    /** Adds the settings of these groups, each under its heading, and {@code --config}. */
    static void addTo(CommandSpec command, Set<Setting.Group> groups) {
        int order = 0;
        for (Setting.Group group : groups) {
            ArgGroupSpec.Builder section = ArgGroupSpec.builder().validate(false).multiplicity("0..1").order(order++)
                    .heading("%n" + group.heading() + ":%n");
            for (Setting<?> setting : Settings.ALL) {
                if (setting.group() == group) {
                    section.addArg(option(setting));
                }
            }
            command.addArgGroup(section.build());
        }
        command.addOption(OptionSpec.builder(CONFIG).type(Path.class).paramLabel("FILE.yaml")
                .description("settings as 'key: value' lines; keys are the long flag names. A flag beats a MILLRACE_* variable, that beats the file").build());
    }

    static Set<Setting.Group> modelGroups() {
        return EnumSet.of(Setting.Group.MODEL, Setting.Group.MEMORY, Setting.Group.MACHINE);
    }

    private static OptionSpec option(Setting<?> setting) {
        List<String> names = new ArrayList<>(List.of(setting.flag()));
        setting.aliases().forEach(alias -> names.add(alias.length() <= 2 ? "-" + alias : "--" + alias));
        String suffix = setting.defaultText().isEmpty() ? "" : " (default: " + setting.defaultText() + ")";
        OptionSpec.Builder option = OptionSpec.builder(names.toArray(String[]::new))
                .description((setting.description() + suffix).replace("%", "%%"));
        if (setting.kind() == Setting.Kind.SWITCH) {
            return option.type(Boolean.class).arity("0").negatable(true).fallbackValue("true").build();
        }
        option.paramLabel(setting.placeholder());
        // All are lists here: a flag given twice is for ConfigReader to judge.
        return option.type(List.class).auxiliaryTypes(String.class).arity("1").build();
    }

    /** The configuration from these flags, {@code MILLRACE_*} variables and the file. */
    static ServerConfig read(ParseResult parsed, String positionalModel) {
        return ConfigReader.read(flags(parsed, positionalModel), System.getenv(), parsed.matchedOptionValue(CONFIG, null));
    }

    /** The same for a server. */
    static ServerConfig readForServer(ParseResult parsed, String positionalModel) {
        return ConfigReader.readForServer(List.of(), flags(parsed, positionalModel), System.getenv(), parsed.matchedOptionValue(CONFIG, null));
    }

    static Map<String, List<String>> flags(ParseResult parsed, String positionalModel) {
        Map<String, List<String>> flags = new LinkedHashMap<>();
        for (OptionSpec option : parsed.commandSpec().options()) {
            String key = option.longestName().replaceFirst("^-+", "");
            if (!parsed.hasMatchedOption(option) || Settings.find(key).isEmpty()) {
                continue;
            }
            List<String> texts = new ArrayList<>();
            switch (option.getValue()) {
                case List<?> list -> list.forEach(text -> texts.add(String.valueOf(text)));
                case Object value -> texts.add(String.valueOf(value));
            }
            flags.put(key, texts);
        }
        if (positionalModel != null) {
            flags.computeIfAbsent(Settings.MODEL.key(), key -> new ArrayList<>()).add(positionalModel);
        }
        return flags;
    }
}
