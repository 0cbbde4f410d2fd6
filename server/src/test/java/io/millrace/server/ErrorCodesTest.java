package io.millrace.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.millrace.scheduler.RejectedException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** {@code docs/errors.md} against the sources. */
class ErrorCodesTest {
    private static final Pattern CODE = Pattern.compile("\\b([A-Z]{2,10})-(\\d{3})\\b");
    private static final Pattern TEXT = Pattern.compile("\"(?:[^\"\\\\]++|\\\\.)*+\"");
    /** {@code ST-001}, {@code ST-001 to 008}, {@code CLI-007, 008, 009} and all three in one. */
    private static final Pattern ROW_PART = Pattern.compile("(?:([A-Z]{2,10})-)?(\\d{3})(?: to (\\d{3}))?");
    /** Written like a code, but a standard's name. */
    private static final Set<String> NO_CODES = Set.of("SHA-256", "SHA-512", "AVX-512");

    private static Path root() {
        Path root = Path.of(System.getProperty("millrace.root", "."));
        assumeTrue(Files.isRegularFile(root.resolve("docs/errors.md")), "no docs/errors.md in " + root);
        return root;
    }

    private static Set<String> inSources(Path root) throws IOException {
        Set<String> codes = new TreeSet<>();
        for (String module : List.of("bindings", "kernels", "engine", "scheduler", "telemetry", "server")) {
            Path sources = root.resolve(module).resolve("src/main");
            try (Stream<Path> files = Files.walk(sources)) {
                for (Path file : files.filter(f -> f.toString().endsWith(".java") || f.toString().endsWith(".c")).toList()) {
                    Matcher text = TEXT.matcher(Files.readString(file));
                    while (text.find()) {
                        Matcher code = CODE.matcher(text.group());
                        while (code.find()) {
                            codes.add(code.group());
                        }
                    }
                }
            }
        }
        codes.removeAll(NO_CODES);
        return codes;
    }

    private static Set<String> inTable(Path root) throws IOException {
        Set<String> codes = new TreeSet<>();
        for (String line : Files.readAllLines(root.resolve("docs/errors.md"))) {
            if (!line.startsWith("| ") || line.startsWith("| code")) {
                continue;
            }
            String family = null;
            Matcher part = ROW_PART.matcher(line.substring(2, line.indexOf('|', 2)));
            while (part.find()) {
                family = part.group(1) == null ? family : part.group(1);
                int last = Integer.parseInt(part.group(3) == null ? part.group(2) : part.group(3));
                for (int number = Integer.parseInt(part.group(2)); number <= last; number++) {
                    assertThat(codes.add(String.format("%s-%03d", family, number))).as("%s-%03d stands twice", family, number).isTrue();
                }
            }
        }
        return codes;
    }

    /** Property: every code that a message can begin with is explained, and no code is explained that no message has. */
    @Test
    void tableIsComplete() throws IOException {
        Path root = root();
        Set<String> unexplained = inSources(root);
        Set<String> unused = inTable(root);
        Set<String> both = new TreeSet<>(unexplained);
        both.retainAll(unused);
        unexplained.removeAll(both);
        unused.removeAll(both);
        assertThat(unexplained).as("codes in the sources, but not in docs/errors.md").isEmpty();
        assertThat(unused).as("codes in docs/errors.md, but not in the sources").isEmpty();
        assertThat(both).hasSizeGreaterThan(60);
    }

    private static final Pattern REFUSAL = Pattern.compile("\\b(new ApiException|badRequest|notFound|unavailable)\\(");
    private static final Pattern WORD = Pattern.compile("\"([a-z_]+)\"");

    /** The arguments of the call whose opening bracket ends before {@code at}. */
    private static List<String> arguments(String source, int at) {
        List<String> arguments = new ArrayList<>();
        int depth = 0;
        boolean quoted = false;
        int begin = at;
        for (int i = at; depth >= 0; i++) {
            char c = source.charAt(i);
            if (quoted) {
                i += c == '\\' ? 1 : 0;
                quoted = c != '"';
                continue;
            }
            quoted = c == '"';
            depth += c == '(' ? 1 : c == ')' ? -1 : 0;
            if (depth < 0 || depth == 0 && c == ',') {
                arguments.add(source.substring(begin, i));
                begin = i + 1;
            }
        }
        return arguments;
    }

    /** Property: every word that an HTTP error has as its code is explained, and no other is. */
    @Test
    void codesOfHttpErrorsAreExplained() throws IOException {
        Path root = root();
        Set<String> used = new TreeSet<>();
        try (Stream<Path> files = Files.walk(root.resolve("server/src/main/java"))) {
            for (Path file : files.filter(f -> f.toString().endsWith(".java")).toList()) {
                String source = Files.readString(file);
                Matcher call = REFUSAL.matcher(source);
                while (call.find()) {
                    List<String> arguments = arguments(source, call.end());
                    boolean isNew = call.group(1).startsWith("new");
                    if (isNew || !call.group(1).equals("badRequest") || arguments.size() == 3) {
                        Matcher word = WORD.matcher(arguments.get(isNew ? 2 : 0));
                        while (word.find()) {
                            used.add(word.group(1));
                        }
                    }
                }
            }
        }
        for (RejectedException.Kind kind : RejectedException.Kind.values()) {
            used.add(kind.code());
        }
        Set<String> explained = new TreeSet<>();
        for (String line : Files.readAllLines(root.resolve("docs/errors.md"))) {
            if (line.startsWith("| `")) {
                Matcher word = Pattern.compile("`([a-z_]+)`").matcher(line.substring(0, line.indexOf('|', 2)));
                while (word.find()) {
                    assertThat(explained.add(word.group(1))).as("%s stands twice", word.group(1)).isTrue();
                }
            }
        }
        assertThat(explained).isEqualTo(used).hasSizeGreaterThan(20);
    }
}
