package io.millrace.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The launcher in a folder of its own with an empty world around it: no JDK, or a JDK made of shell scripts. */
class LauncherTest {
    @TempDir
    private Path folder;
    private Path launcher;
    private Path project;

    private record Outcome(int exitCode, String output) {}

    @BeforeEach
    void copyLauncher() throws IOException {
        Path original = Path.of(System.getProperty("millrace.root", ".")).resolve("millrace");
        assumeTrue(Files.isExecutable(original) && Files.isExecutable(Path.of("/usr/bin/env")), "no launcher at " + original + " or no POSIX system");
        project = Files.createDirectories(folder.resolve("a project with blanks"));
        launcher = Files.copy(original, project.resolve("millrace"), java.nio.file.StandardCopyOption.COPY_ATTRIBUTES);
        Files.writeString(project.resolve("pom.xml"), "<project/>");
        for (String tool : List.of("env", "bash", "sh", "sed", "dirname", "readlink", "find", "sort", "cksum", "cat", "head", "tail", "grep", "mkdir", "rm", "touch",
                "sleep", "id", "ls", "date")) {
            for (String place : List.of("/usr/bin/", "/bin/")) {
                if (Files.exists(Path.of(place + tool))) {
                    script(Files.createDirectories(folder.resolve("bin")).resolve(tool), "exec " + place + tool + " \"$@\"");
                    break;
                }
            }
        }
        Files.createDirectories(folder.resolve("jvms"));
    }

    private Outcome run(Path command, Map<String, String> extra, String... args) throws IOException, InterruptedException {
        List<String> line = new ArrayList<>(List.of(folder.resolve("bin/bash").toString(), command.toString()));
        line.addAll(List.of(args));
        ProcessBuilder builder = new ProcessBuilder(line).redirectErrorStream(true).directory(Path.of("/").toFile());
        builder.environment().clear();
        builder.environment().putAll(Map.of("PATH", folder.resolve("bin").toString(), "HOME", folder.toString(), "MILLRACE_JVM_FOLDER", folder.resolve("jvms").toString()));
        builder.environment().putAll(extra);
        Process process = builder.start();
        process.getOutputStream().close();
        String output = new String(process.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
        assertThat(process.waitFor(30, TimeUnit.SECONDS)).isTrue();
        return new Outcome(process.exitValue(), output);
    }

    private void fakeJdk(String name, String version) throws IOException {
        Path home = Files.createDirectories(folder.resolve("jvms").resolve(name));
        Files.writeString(home.resolve("release"), "JAVA_VERSION=\"" + version + "\"\n");
        for (String tool : List.of("java", "javac")) {
            script(Files.createDirectories(home.resolve("bin")).resolve(tool), "echo fake-" + tool + " \"$@\"");
        }
    }

    /** Scripts rather than links: JUnit warns of links that leave the temporary folder. */
    private static void script(Path file, String text) throws IOException {
        Files.writeString(file, "#!/bin/sh\n" + text + "\n");
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
    }

    /** What a build leaves behind. */
    private void pretendBuilt() throws IOException {
        Path lib = Files.createDirectories(project.resolve("server/target/millrace/lib"));
        Files.writeString(lib.resolve("b.jar"), "");
        Files.writeString(lib.resolve("a.jar"), "");
        script(project.resolve("mvnw"), "exit 0");
        fakeJdk("jdk-25", "25.0.1");
        Files.writeString(project.resolve("server/target/millrace/build.stamp"), "any: MILLRACE_NO_BUILD is set");
    }

    /** Property: without a suitable JDK the launcher names what it found and what to install, and ends with 69. */
    @Test
    void noJdk() throws IOException, InterruptedException {
        fakeJdk("jdk-17", "17.0.9");
        Outcome outcome = run(launcher, Map.of(), "serve");
        // Folders outside the test's world may hold a real JDK; then the compiler is what is missing.
        assertThat(outcome.exitCode()).isEqualTo(69);
        assertThat(outcome.output()).containsAnyOf("no JDK 25 or newer found", "a C compiler");
        if (outcome.output().contains("no JDK 25")) {
            assertThat(outcome.output()).contains("jdk-17 (Java 17)", "apt-get install openjdk-25-jdk", "MILLRACE_JAVA_HOME");
        }
    }

    /** Property: a JDK named by hand that is too old is refused, not passed over. */
    @Test
    void wrongJavaHome() throws IOException, InterruptedException {
        fakeJdk("jdk-17", "17.0.9");
        Outcome outcome = run(launcher, Map.of("MILLRACE_JAVA_HOME", folder.resolve("jvms/jdk-17").toString()), "serve");
        assertThat(outcome.exitCode()).isEqualTo(69);
        assertThat(outcome.output()).contains("MILLRACE_JAVA_HOME", "found: 17");
    }

    /** Property: without a compiler the launcher says so before it starts to build. */
    @Test
    void noCompiler() throws IOException, InterruptedException {
        fakeJdk("jdk-25", "25.0.1");
        Outcome outcome = run(launcher, Map.of("MILLRACE_JAVA_HOME", folder.resolve("jvms/jdk-25").toString()), "serve");
        assertThat(outcome.exitCode()).isEqualTo(69);
        assertThat(outcome.output()).contains("a C compiler and make", "apt-get install gcc");
    }

    /** Property: a failed build ends with 70, its cause and the place of the log. */
    @Test
    void failedBuild() throws IOException, InterruptedException {
        fakeJdk("jdk-25", "25.0.1");
        script(folder.resolve("bin/cc"), "exit 0");
        script(folder.resolve("bin/make"), "exit 0");
        script(project.resolve("mvnw"), "echo '[ERROR] Foo.java:[1,2] cannot find symbol'; exit 1");
        Outcome outcome = run(launcher, Map.of("MILLRACE_JAVA_HOME", folder.resolve("jvms/jdk-25").toString()), "serve");
        assertThat(outcome.exitCode()).isEqualTo(70);
        assertThat(outcome.output()).contains("the build failed", "Foo.java:[1,2] cannot find symbol", "build.log");
    }

    /** Property: help needs neither a build nor a JDK. */
    @Test
    void helpBeforeTheBuild() throws IOException, InterruptedException {
        Outcome outcome = run(launcher, Map.of(), "--help");
        assertThat(outcome.exitCode()).isZero();
        assertThat(outcome.output()).contains("./millrace serve", "Not built yet");
        assertThat(run(launcher, Map.of()).exitCode()).isEqualTo(2);
    }

    /** Property: it works from any folder, through a symbolic link and with blanks in the path, and passes arguments on unchanged. */
    @Test
    void startsJava() throws IOException, InterruptedException {
        pretendBuilt();
        Path link = Files.createSymbolicLink(folder.resolve("link"), launcher);
        Outcome outcome = run(link, Map.of("MILLRACE_JAVA_HOME", folder.resolve("jvms/jdk-25").toString(), "MILLRACE_NO_BUILD", "1"),
                "run", "two  words", "");
        assertThat(outcome.exitCode()).as(outcome.output()).isZero();
        assertThat(outcome.output()).contains("fake-java", "--enable-native-access=ALL-UNNAMED", "a.jar:", "io.millrace.server.Main run two  words");
        assertThat(outcome.output().indexOf("a.jar")).isLessThan(outcome.output().indexOf("b.jar"));
    }
}
