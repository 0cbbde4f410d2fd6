package io.millrace.bindings;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.OutputStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Property: whatever is wrong with a native library, loading it gives a reason with a remedy, never an exception. */
class NativeLibraryTest {
    private static final String NAME = "millrace_test_only";

    @TempDir
    Path folder;

    /** Property: a platform without a library is told how to get one, at first use. */
    @Test
    void aMissingLibraryIsAReasonUntilItIsNeeded() throws IOException {
        NativeLibrary library = NativeLibrary.load(NAME, loaderOf(folder), "plan9-vax", Map.of());
        assertThat(library.loaded()).isFalse();
        assertThat(library.failure()).startsWith("NATIVE-001").contains("native/plan9-vax/" + System.mapLibraryName(NAME)).contains("gcc");
        assertThatThrownBy(library::require).isInstanceOf(IllegalStateException.class).hasMessage(library.failure());
    }

    /** Property: a damaged file names itself and the remedy. */
    @Test
    void aDamagedLibraryNamesItsFile() throws IOException {
        Path file = folder.resolve("native").resolve(NativeLibrary.platform()).resolve(System.mapLibraryName(NAME));
        Files.createDirectories(file.getParent());
        Files.writeString(file, "this is no library");
        NativeLibrary library = NativeLibrary.load(NAME, loaderOf(folder), NativeLibrary.platform(), Map.of());
        assertThat(library.failure()).startsWith("NATIVE-002").contains(file.toString()).contains("rebuild");
        assertThat(library.path()).isEqualTo(file);
    }

    /** Property: a library in a jar is unpacked into a folder of its content's name in a folder of its owner alone; a tampered copy is replaced. */
    @Test
    void aLibraryInAJarIsUnpackedOnceAndCheckedEachTime() throws IOException {
        Path jar = jarWith("some bytes");
        Path cache = folder.resolve("cache");
        Map<String, String> environment = Map.of("MILLRACE_CACHE_DIR", cache.toString());
        for (int i = 0; i < 2; i++) {
            NativeLibrary library = NativeLibrary.load(NAME, loaderOf(jar), NativeLibrary.platform(), environment);
            assertThat(library.failure()).startsWith("NATIVE-002");
            assertThat(library.path()).hasContent("some bytes");
            Files.writeString(library.path(), "tampered");
        }
        NativeLibrary.load(NAME, loaderOf(jarWith("other bytes")), NativeLibrary.platform(), environment);
        try (Stream<Path> files = Files.list(cache.resolve("native"))) {
            assertThat(files.map(Path::getFileName).map(Path::toString)).hasSize(2).allMatch(name -> name.startsWith("lib" + NAME + "-"));
        }
        if (posix()) {
            assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(cache.resolve("native")))).isEqualTo("rwx------");
        }
    }

    /** Property: a cache folder that others can write to is not trusted. */
    @Test
    void aCacheThatOthersCanWriteIsRefused() throws IOException {
        assumeTrue(posix(), "needs POSIX permissions");
        Path cache = Files.createDirectories(folder.resolve("open").resolve("native"));
        Files.setPosixFilePermissions(cache, PosixFilePermissions.fromString("rwxrwxrwx"));
        NativeLibrary library = NativeLibrary.load(NAME, loaderOf(jarWith("x")), NativeLibrary.platform(),
                Map.of("MILLRACE_CACHE_DIR", cache.getParent().toString()));
        assertThat(library.failure()).startsWith("NATIVE-003").contains("others can write").contains("MILLRACE_CACHE_DIR");
    }

    private Path jarWith(String content) throws IOException {
        Path jar = Files.createTempFile(folder, "lib", ".jar");
        try (OutputStream out = Files.newOutputStream(jar); JarOutputStream entries = new JarOutputStream(out)) {
            entries.putNextEntry(new JarEntry("native/" + NativeLibrary.platform() + "/" + System.mapLibraryName(NAME)));
            entries.write(content.getBytes(java.nio.charset.StandardCharsets.UTF_8));
            entries.closeEntry();
        }
        return jar;
    }

    @SuppressWarnings("resource") // lives as long as the test; the resources are read through it
    private static ClassLoader loaderOf(Path path) throws IOException {
        return new URLClassLoader(List.of(path.toUri().toURL()).toArray(URL[]::new), null);
    }

    private static boolean posix() {
        return FileSystems.getDefault().supportedFileAttributeViews().contains("posix");
    }
}
