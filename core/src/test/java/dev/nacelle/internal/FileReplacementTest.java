// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.nio.file.ExtendedOpenOption;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class FileReplacementTest {
  private static final String ONLY_WINDOWS = "Linux keeps no file because it is open";

  @TempDir Path directory;
  private Path file;
  private Path next;

  @BeforeEach
  void write() throws IOException {
    file = Files.writeString(directory.resolve("file"), "old");
    next = Files.writeString(directory.resolve("next"), "new");
  }

  /** As virus scanners and the service of Hyper-V have files open. */
  static FileChannel keepOpen(Path file) throws IOException {
    return FileChannel.open(
        file, Set.of(StandardOpenOption.READ, ExtendedOpenOption.NOSHARE_DELETE));
  }

  @Test
  void aFileTakesThePlaceOfOneThatIsOpenForAMoment() throws Exception {
    FileChannel reader = FileChannel.open(file);
    CompletableFuture<Void> closed =
        CompletableFuture.runAsync(
            () -> {
              try {
                reader.close();
              } catch (IOException e) {
                throw new AssertionError(e);
              }
            },
            CompletableFuture.delayedExecutor(200, TimeUnit.MILLISECONDS));

    FileReplacement.move(next, file);

    assertEquals("new", Files.readString(file));
    assertFalse(Files.exists(next));
    closed.join();
  }

  @Test
  void whatIsNotThereCannotBeMoved() {
    assertThrows(
        NoSuchFileException.class, () -> FileReplacement.move(directory.resolve("absent"), file));
  }

  @Test
  @EnabledOnOs(value = OS.WINDOWS, disabledReason = ONLY_WINDOWS)
  void theWaitForWhatIsOpenCanBeInterrupted() throws IOException {
    try (FileChannel kept = keepOpen(file)) {
      Thread.currentThread().interrupt();
      assertThrows(InterruptedIOException.class, () -> FileReplacement.move(next, file));
      assertTrue(Thread.interrupted());
      assertTrue(kept.isOpen());
    }
    assertEquals("old", Files.readString(file));
    assertEquals("new", Files.readString(next));
  }

  @Test
  void aFileIsRemovedOnce() throws IOException {
    assertTrue(FileReplacement.tryDelete(file));
    assertFalse(FileReplacement.tryDelete(file));
  }

  @Test
  @EnabledOnOs(value = OS.WINDOWS, disabledReason = ONLY_WINDOWS)
  void whatIsOpenIsNotRemovedBeforeItIsClosed() throws IOException {
    try (FileChannel kept = keepOpen(file)) {
      assertFalse(FileReplacement.tryDelete(file));
      assertEquals(3, kept.size());
    }
    assertTrue(FileReplacement.tryDelete(file));
  }
}
