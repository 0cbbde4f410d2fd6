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
                "sleep", "mv", "stat", "uname")) {
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
        fakeJdk("jdk-25", "25.0.1");
    }

    /** Property: without a suitable JDK the launcher names what it found and what to install, and ends with 69. */
    @Test
    void noJdk() throws IOException, InterruptedException {
        fakeJdk("jdk-17", "17.0.9");
        Outcome outcome = run(launcher, Map.of(), "serve");
        assertThat(outcome.exitCode()).isEqualTo(69);
        assertThat(outcome.output()).contains("no JDK 25 or newer found", "jdk-17 (Java 17)", "apt-get install openjdk-25-jdk", "MILLRACE_JAVA_HOME");
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

    /** A Maven that counts its runs and leaves a class path behind, and the tools that are looked for before it. */
    private void fakeMaven() throws IOException {
        fakeJdk("jdk-25", "25.0.1");
        script(folder.resolve("bin/cc"), "exit 0");
        script(folder.resolve("bin/make"), "exit 0");
        script(project.resolve("mvnw"), "echo run >> server/target/maven-runs; mkdir -p server/target/millrace/lib; : > server/target/millrace/lib/a.jar");
    }

    private long runsOf(String file) throws IOException {
        Path runs = project.resolve("server/target").resolve(file);
        return Files.exists(runs) ? Files.readAllLines(runs).size() : 0;
    }

    /** Property: sources are built once, again when one of them changes, and no lock stays behind. */
    @Test
    void buildsWhenSourcesChange() throws IOException, InterruptedException {
        fakeMaven();
        assertThat(run(launcher, Map.of(), "info").output()).contains("built in", "io.millrace.server.Main info");
        assertThat(run(launcher, Map.of(), "info").output()).doesNotContain("building");
        assertThat(runsOf("maven-runs")).isEqualTo(1);
        Files.writeString(Files.createDirectories(project.resolve("server/src/main/java")).resolve("New.java"), "class New {}");
        assertThat(run(launcher, Map.of(), "info").output()).contains("built in");
        assertThat(runsOf("maven-runs")).isEqualTo(2);
        assertThat(project.resolve("server/target/millrace.lock")).doesNotExist();
    }

    /** Property: a lock whose holder was killed before it could sign it, or after, is taken over; the user is told once why it waits. */
    @Test
    void abandonedLock() throws IOException, InterruptedException {
        fakeMaven();
        Path lock = Files.createDirectories(project.resolve("server/target/millrace.lock"));
        Outcome unsigned = run(launcher, Map.of("MILLRACE_LOCK_SECONDS", "1"), "info");
        assertThat(unsigned.exitCode()).as(unsigned.output()).isZero();
        assertThat(unsigned.output()).containsOnlyOnce("another launcher is building").contains("built in");
        assertThat(lock).doesNotExist();
        // A process id that is alive, but another process's: this test's.
        Files.delete(project.resolve("server/target/millrace/build.stamp"));
        Files.createDirectories(lock);
        Files.writeString(lock.resolve("beat"), "elsewhere " + ProcessHandle.current().pid() + " 7\n");
        assertThat(run(launcher, Map.of("MILLRACE_LOCK_SECONDS", "1"), "info").output()).contains("built in");
        assertThat(runsOf("maven-runs")).isEqualTo(2);
        assertThat(lock).doesNotExist();
    }

    /** Property: of several launchers that start together, one builds and all run. */
    @Test
    void buildsOnce() throws Exception {
        fakeMaven();
        try (var threads = java.util.concurrent.Executors.newVirtualThreadPerTaskExecutor()) {
            List<java.util.concurrent.Future<Outcome>> outcomes = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                outcomes.add(threads.submit(() -> run(launcher, Map.of(), "info")));
            }
            for (var outcome : outcomes) {
                assertThat(outcome.get().output()).contains("io.millrace.server.Main info");
            }
        }
        assertThat(runsOf("maven-runs")).isEqualTo(1);
    }

    /** Property: where nothing can be written the launcher ends with 73 and says how to run what is there; it never waits. */
    @Test
    void cannotWrite() throws IOException, InterruptedException {
        fakeMaven();
        // A file in the place of a folder refuses everybody, the superuser included.
        Files.writeString(Files.createDirectories(project.resolve("server")).resolve("target"), "");
        Outcome outcome = run(launcher, Map.of(), "info");
        assertThat(outcome.exitCode()).as(outcome.output()).isEqualTo(73);
        assertThat(outcome.output()).contains("cannot be written", "MILLRACE_NO_BUILD=1");
        Files.delete(project.resolve("server/target"));
        Files.createDirectories(project.resolve("server/target/millrace/lib"));
        Files.writeString(project.resolve("server/target/millrace.lock"), "");
        assertThat(run(launcher, Map.of(), "info").exitCode()).isEqualTo(73);
    }

    /** Property: the same in a tree that belongs to somebody else, whose sources are newer than its build. */
    @Test
    void readOnlyTree() throws IOException, InterruptedException {
        assumeTrue(!"root".equals(System.getProperty("user.name")), "the superuser can write everywhere");
        fakeMaven();
        Path target = Files.createDirectories(project.resolve("server/target/millrace/lib")).getParent().getParent();
        Files.setPosixFilePermissions(target, PosixFilePermissions.fromString("r-xr-xr-x"));
        try {
            assertThat(run(launcher, Map.of(), "info").exitCode()).isEqualTo(73);
        } finally {
            Files.setPosixFilePermissions(target, PosixFilePermissions.fromString("rwxr-xr-x"));
        }
    }

    /** A JDK whose training runs are counted and whose cache is a file with the command in it. */
    private void fakeTraining() throws IOException {
        pretendBuilt();
        Files.writeString(Files.createDirectories(project.resolve("server/demo-model")).resolve("config.json"), "{}");
        script(folder.resolve("jvms/jdk-25/bin/java"), """
                case "$*" in *-XX:AOTCacheOutput=*) ;; *) echo fake-java "$@"; exit 0 ;; esac
                for argument; do case $argument in -XX:AOTCacheOutput=*) cache=${argument#*=} ;; esac; done
                echo run >> "${cache%/*}/../training-runs"
                env | grep MILLRACE_ > "${cache%/*}/../training-environment"
                echo "$@" > "$cache"
                """);
    }

    /** Property: the start-up cache is made once, anew when a jar was rewritten or options changed, and used when it is there. */
    @Test
    void startUpCache() throws IOException, InterruptedException {
        fakeTraining();
        Map<String, String> built = Map.of("MILLRACE_NO_BUILD", "1");
        assertThat(run(launcher, built, "info").output()).contains("-XX:AOTCache=");
        run(launcher, built, "info");
        assertThat(runsOf("training-runs")).isEqualTo(1);
        Files.setLastModifiedTime(project.resolve("server/target/millrace/lib/a.jar"), java.nio.file.attribute.FileTime.fromMillis(86_400_000));
        run(launcher, built, "info");
        run(launcher, built, "info");
        assertThat(runsOf("training-runs")).isEqualTo(2);
        run(launcher, Map.of("MILLRACE_NO_BUILD", "1", "MILLRACE_JAVA_OPTS", "-Xmx2g -Dpattern=*"), "info");
        assertThat(runsOf("training-runs")).isEqualTo(3);
        assertThat(project.resolve("server/target/millrace/start-up.aot.new")).doesNotExist();
    }

    /** Property: the training sees none of the user's settings: neither the model nor the address, the key or the file of settings. */
    @Test
    void trainingIsOnItsOwn() throws IOException, InterruptedException {
        fakeTraining();
        run(launcher, Map.of("MILLRACE_NO_BUILD", "1", "MILLRACE_MODEL", "/nonexistent", "MILLRACE_HOST", "0.0.0.0", "MILLRACE_CONFIG", "/none.yaml",
                "MILLRACE_API_KEY", "key"), "serve");
        Path target = project.resolve("server/target");
        assertThat(Files.readString(target.resolve("training-environment"))).isEmpty();
        assertThat(Files.readString(target.resolve("millrace/start-up.aot"))).contains("--model " + project.resolve("server/demo-model"), "--host 127.0.0.1");
    }

    /** Property: while another launcher builds or trains, a start goes ahead without a cache rather than write into the same one. */
    @Test
    void trainingUnderTheLock() throws IOException, InterruptedException {
        fakeTraining();
        Path lock = Files.createDirectories(project.resolve("server/target/millrace.lock"));
        Outcome outcome = run(launcher, Map.of("MILLRACE_NO_BUILD", "1"), "info");
        assertThat(outcome.output()).contains("io.millrace.server.Main info").doesNotContain("-XX:AOTCache");
        assertThat(runsOf("training-runs")).isZero();
        assertThat(lock).exists();
        Files.setLastModifiedTime(lock, java.nio.file.attribute.FileTime.fromMillis(86_400_000));
        assertThat(run(launcher, Map.of("MILLRACE_NO_BUILD", "1"), "info").output()).contains("-XX:AOTCache");
    }

    /** Property: an installed copy, lib/ beside the launcher and no sources, never says that it is not built. */
    @Test
    void installedHelp() throws IOException, InterruptedException {
        fakeJdk("jdk-25", "25.0.1");
        Files.delete(project.resolve("pom.xml"));
        Files.writeString(Files.createDirectories(project.resolve("lib")).resolve("a.jar"), "");
        assertThat(run(launcher, Map.of(), "--help").output()).contains("io.millrace.server.Main --help").doesNotContain("Not built");
    }
}
