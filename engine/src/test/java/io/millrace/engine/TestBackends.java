package io.millrace.engine;

import java.util.stream.Stream;

/** The backends that every model test runs on. */
final class TestBackends {
    private TestBackends() {}

    static Stream<String> names() {
        return Stream.of("reference", "cpu");
    }
}
