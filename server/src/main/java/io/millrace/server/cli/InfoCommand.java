package io.millrace.server.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import io.millrace.engine.MachineProbe;
import io.millrace.engine.MachineProbe.Limit;
import io.millrace.server.bench.MachineSpeed;
import io.millrace.server.console.Table;
import io.millrace.server.console.Texts;
import java.io.PrintWriter;
import java.util.Map;
import java.util.Optional;
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
    private static final int MIN_ROUNDS = 5;
    private static final int MAX_ROUNDS = 15;
    private static final long MEASURE_NANOS = 2_500_000_000L;

    @Spec
    private CommandSpec spec;

    @Option(names = "--json", description = "the same as one JSON object")
    private boolean json;

    @Option(names = "--measure", description = "measure memory bandwidth and dot product peaks, some three seconds")
    private boolean measure;

    @Mixin
    private MillraceCommand.Verbosity verbosity;

    @Override
    public Integer call() throws Exception {
        Map<String, Object> facts = MachineFacts.collect();
        PrintWriter out = spec.commandLine().getOut();
        Optional<MachineSpeed> speed = measure ? measure() : Optional.empty();
        speed.ifPresent(known -> facts.put("measured", known.toMap()));
        if (json) {
            out.println(new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT).writeValueAsString(facts));
        } else {
            facts.remove("measured");
            facts.forEach((key, value) -> out.printf("%-16s %s%n", key.replace('_', ' '), shown(value)));
            speed.ifPresent(known -> out.print(table(known)));
        }
        out.flush();
        return ExitCodes.OK;
    }

    /** Rounds of all limits in turn; empty where there are no native kernels, which the other facts give the reason of. */
    private static Optional<MachineSpeed> measure() {
        Optional<MachineProbe> opened = MachineProbe.open(0);
        if (opened.isEmpty()) {
            return Optional.empty();
        }
        try (MachineProbe probe = opened.get()) {
            new MachineSpeed(probe.threads()).round(probe, probe.limits());
            MachineSpeed speed = new MachineSpeed(probe.threads());
            long start = System.nanoTime();
            for (int i = 0; i < MAX_ROUNDS && (i < MIN_ROUNDS || System.nanoTime() - start < MEASURE_NANOS); i++) {
                speed.round(probe, probe.limits());
            }
            return Optional.of(speed);
        }
    }

    private static String table(MachineSpeed speed) {
        Table table = new Table().heading("").row("measured", "threads", "median", "lowest", "highest", "rounds");
        for (Limit limit : speed.limits()) {
            String[] cells = MachineTable.cells(speed.of(limit));
            table.row(MachineTable.label(limit), Texts.count(speed.threads(limit)), cells[0], cells[1], cells[2], Texts.count(speed.numRounds(limit)));
        }
        return table.toString();
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
