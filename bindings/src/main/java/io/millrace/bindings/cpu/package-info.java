/** What jextract makes of {@code millrace_cpu.h}; see {@code src/main/jextract/README.md}. Generated, never edited, used by the facade. */
package io.millrace.bindings.cpu;
