package io.millrace.engine;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

/** Property: the facts are told whatever is wrong; a choice that this machine cannot follow is the reason given. */
class BackendFactsTest {
    @Test
    void aWrongChoiceOfInstructionSetIsTold() {
        assertThat(BackendFacts.collect(() -> {
            throw new IllegalArgumentException("CPU-001: MILLRACE_CPU_ISA=foo is not available here");
        }).get("backend")).asString().startsWith("none").contains("MILLRACE_CPU_ISA=foo").contains("--backend reference");
        assertThat(BackendFacts.collect()).containsKey("backend");
    }
}
