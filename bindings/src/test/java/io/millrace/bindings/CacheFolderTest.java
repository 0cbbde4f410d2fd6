package io.millrace.bindings;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Guards: native code is never taken from a folder in which somebody else could have put it. */
class CacheFolderTest {
    @TempDir
    Path folder;

    @Test
    void newFolderIsTheOwnersAlone() throws IOException {
        Path cache = folder.resolve("a").resolve("b");
        CacheFolder.requirePrivate(cache);
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(cache))).isEqualTo("rwx------");
        try (var files = Files.list(cache)) {
            assertThat(files).isEmpty();
        }
    }

    @Test
    void folderThatOthersCanWriteIsRefused() throws IOException {
        Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxrwxrwx"));
        assertThatThrownBy(() -> CacheFolder.requirePrivate(folder)).isInstanceOf(IOException.class).hasMessageContaining("others can write");
    }
}
