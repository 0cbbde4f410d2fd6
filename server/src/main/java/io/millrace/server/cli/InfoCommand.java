package io.millrace.server.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import io.millrace.server.console.Texts;
import java.io.PrintWriter;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code millrace info}: what this machine offers and which backend is used, and why. */
@Command(name = "info", sortOptions = false, header = "What this machine offers, and which backend is used and why.%n",
        synopsisHeading = "Usage: ", customSynopsis = "./millrace info [flags]")
final class InfoCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Option(names = "--json", description = "the same as one JSON object")
    private boolean json;

    @Mixin
    private MillraceCommand.Verbosity verbosity;

    @Override
    public Integer call() throws Exception {
        Map<String, Object> facts = MachineFacts.collect();
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            out.println(new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT).writeValueAsString(facts));
        } else {
            facts.forEach((key, value) -> out.printf("%-16s %s%n", key.replace('_', ' '), shown(value)));
        }
        out.flush();
        return ExitCodes.OK;
    }

    private static String shown(Object value) {
        return switch (value) {
            case Iterable<?> many -> {
                StringBuilder text = new StringBuilder();
                many.forEach(one -> text.append(text.isEmpty() ? "" : System.lineSeparator() + " ".repeat(17)).append(one));
                yield text.toString();
            }
            case Long bytes -> Texts.bytes(bytes);
            default -> String.valueOf(value);
        };
    }
}
