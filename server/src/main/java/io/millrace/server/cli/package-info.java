/** The commands of {@code ./millrace}: picocli classes that read flags, wire what they need and map failures to exit codes. */
package io.millrace.server.cli;
