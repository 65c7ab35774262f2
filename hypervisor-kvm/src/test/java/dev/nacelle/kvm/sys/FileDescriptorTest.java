// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.internal.OpenFiles;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

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
    try (FileDescriptor file = FileDescriptor.openFile(path, false);
        Mapping mapping = Mapping.anonymous(8192)) {
      IoVector vector = new IoVector(mapping, 4096, 1);
      vector.add(mapping, 0, 4096);
      assertEquals(4096, vector.window(4096));
      assertEquals(-Errno.EBADF, file.write(0, vector));
      assertEquals(-Errno.EBADF, file.punchHole(0, 4096));
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  @Timeout(20)
  void opensNothingButAFileAndDoesNotWait(boolean writable) throws Exception {
    Path fifo = directory.resolve("fifo");
    assertEquals(0, new ProcessBuilder("mkfifo", fifo.toString()).start().waitFor());
    assertRefused(fifo, writable, "a FIFO");
    assertRefused(directory, writable, "a directory");
    assertRefused(Path.of("/dev/full"), writable, "a character device");
    Path socket = directory.resolve("socket");
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      server.bind(UnixDomainSocketAddress.of(socket));
      assertRefused(socket, writable, "a socket, or a device that is not there");
    }
    // Through a link, as for whoever opens it.
    Path link = Files.createSymbolicLink(directory.resolve("link"), fifo);
    assertRefused(link, writable, "a FIFO");
  }

  private static void assertRefused(Path path, boolean writable, String kind) throws Exception {
    NotAFileException e =
        assertThrows(NotAFileException.class, () -> FileDescriptor.openFile(path, writable));
    assertEquals(path + " is " + kind + ", not a regular file", e.getMessage());
    // The test has none of them open itself, but for a socket, which has no path there.
    assertFalse(OpenFiles.targets().contains(path.toRealPath()));
  }

  @Test
  void locksOutWhoWouldWriteWhatOthersHave() throws Exception {
    Path path = Files.write(directory.resolve("file"), new byte[1]);
    try (FileDescriptor reader = FileDescriptor.openFile(path, false);
        FileDescriptor other = FileDescriptor.openFile(path, false);
        FileDescriptor writer = FileDescriptor.openFile(path, true)) {
      assertTrue(reader.tryLock(false));
      assertTrue(other.tryLock(false));
      assertFalse(writer.tryLock(true));
      // A POSIX lock would go with this close.
      FileDescriptor.openFile(path, true).close();
      assertFalse(writer.tryLock(true));
      reader.close();
      other.close();
      assertTrue(writer.tryLock(true));
      try (FileDescriptor late = FileDescriptor.openFile(path, false)) {
        assertFalse(late.tryLock(false));
        writer.close();
        assertTrue(late.tryLock(false));
      }
    }
  }

  @Test
  void punchesHolesAndMakesZeros() throws Exception {
    byte[] bytes = new byte[3 * 65536];
    Arrays.fill(bytes, (byte) 7);
    Path path = Files.write(directory.resolve("file"), bytes);
    try (FileDescriptor file = FileDescriptor.openFile(path, true)) {
      assertEquals(0, file.punchHole(65536, 65536));
      assertEquals(0, file.zeroRange(0, 4096));
      assertEquals(bytes.length, file.size());
    }
    Arrays.fill(bytes, 0, 4096, (byte) 0);
    Arrays.fill(bytes, 65536, 2 * 65536, (byte) 0);
    assertArrayEquals(bytes, Files.readAllBytes(path));
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
