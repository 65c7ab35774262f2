// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.InputStream;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class RegularFileTest {
  @TempDir Path directory;

  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "symbolic links need a privilege on Windows")
  @Test
  void isOpenedAlsoThroughALink() throws Exception {
    Path file = Files.write(directory.resolve("file"), new byte[] {1, 2});
    try (InputStream in =
        RegularFile.open(Files.createSymbolicLink(directory.resolve("link"), file))) {
      assertArrayEquals(new byte[] {1, 2}, in.readAllBytes());
    }
  }

  @DisabledOnOs(
      value = OS.WINDOWS,
      disabledReason = "there are no FIFOs in the file systems of Windows")
  @Test
  @Timeout(20)
  void isWhatNothingElseIs() throws Exception {
    Path fifo = directory.resolve("fifo");
    assertEquals(0, new ProcessBuilder("mkfifo", fifo.toString()).start().waitFor());
    FileSystemException e = assertThrows(FileSystemException.class, () -> RegularFile.open(fifo));
    assertEquals(fifo + ": is a FIFO, a socket or a device, not a regular file", e.getMessage());
    e = assertThrows(FileSystemException.class, () -> RegularFile.open(directory));
    assertEquals(directory + ": is a directory, not a regular file", e.getMessage());
    assertThrows(NoSuchFileException.class, () -> RegularFile.open(directory.resolve("none")));
  }
}
