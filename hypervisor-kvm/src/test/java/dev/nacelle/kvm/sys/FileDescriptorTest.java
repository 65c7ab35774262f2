// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FileDescriptorTest {
  @TempDir Path directory;

  @Test
  void saysWhatCouldNotBeOpenedAndWhy() {
    Path missing = directory.resolve("missing");
    ErrnoException e =
        assertThrows(ErrnoException.class, () -> FileDescriptor.open(missing, false));
    assertEquals(Errno.ENOENT, e.errno());
    assertEquals("open " + missing + ": ENOENT (no such file or directory)", e.getMessage());
  }

  @Test
  void readsUpToTheEndOfTheFile() throws Exception {
    Path path = Files.write(directory.resolve("file"), new byte[] {1, 2, 3});
    try (FileDescriptor file = FileDescriptor.open(path, false)) {
      byte[] buffer = new byte[5];
      assertEquals(2, file.readAt(1, buffer));
      assertArrayEquals(new byte[] {2, 3, 0, 0, 0}, buffer);
      assertEquals(0, file.readAt(3, buffer));
    }
  }

  @Test
  void refusesToWriteAFileOpenedForReading() throws Exception {
    Path path = Files.write(directory.resolve("file"), new byte[4096]);
    try (FileDescriptor file = FileDescriptor.open(path, false);
        Mapping mapping = Mapping.anonymous(4096)) {
      ErrnoException e =
          assertThrows(ErrnoException.class, () -> file.writeAt(0, mapping, 0, 4096));
      assertEquals(Errno.EBADF, e.errno());
    }
  }

  @Test
  void readsIntoAMappingWithinItsBounds() throws Exception {
    byte[] bytes = new byte[4096];
    Arrays.fill(bytes, (byte) 7);
    Path path = Files.write(directory.resolve("file"), bytes);
    try (FileDescriptor file = FileDescriptor.open(path, false);
        Mapping mapping = Mapping.anonymous(4096)) {
      assertEquals(96, file.readAt(4000, mapping, 1, 200));
      assertEquals(7, mapping.buffer(0, 4096).get(96));
      assertEquals(0, mapping.buffer(0, 4096).get(97));
      assertThrows(IndexOutOfBoundsException.class, () -> file.readAt(0, mapping, 1, 4096));
      assertThrows(IndexOutOfBoundsException.class, () -> file.readAt(0, mapping, -1, 1));
      assertThrows(
          IndexOutOfBoundsException.class, () -> file.readAt(0, mapping, 1, Long.MAX_VALUE));
    }
  }

  @Test
  void closesOnce() throws Exception {
    Path path = Files.write(directory.resolve("file"), new byte[1]);
    FileDescriptor first = FileDescriptor.open(path, false);
    first.close();
    try (FileDescriptor second = FileDescriptor.open(path, false)) {
      first.close();
      assertEquals(1, second.size());
    }
    assertThrows(IllegalStateException.class, first::fd);
  }
}
