// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MappingTest {
  private static final int SIZE = 4 << 20;

  @Test
  void keepsTheAddressesOfWhatItHasGivenBack(@TempDir Path directory) throws Exception {
    Path path = Files.write(directory.resolve("file"), new byte[8192]);
    Mapping mapping = Mapping.aligned(SIZE);
    long address = mapping.address(0, 1);
    try (FileDescriptor file = FileDescriptor.openFile(path, false)) {
      mapping.mapCopyOnWrite(4096, file, 0, 8192);
    }
    ByteBuffer bytes = mapping.buffer(0, SIZE);
    for (int page = 0; page < SIZE; page += 4096) {
      bytes.put(page, (byte) 1);
    }
    assertEquals(SIZE, mapping.resident());
    assertTrue(permissions(address).startsWith("rw"));

    assertTrue(mapping.vacate());
    assertTrue(mapping.vacate());
    assertEquals(0, mapping.resident());
    assertThrows(IllegalStateException.class, () -> mapping.address(0, 1));
    assertEquals("---p", permissions(address));
    assertEquals("---p", permissions(address + SIZE - 1));
    // The kernel writes there as little as anybody else.
    try (FileDescriptor file = FileDescriptor.openFile(path, false)) {
      assertEquals(-1, Libc.pread(file.fd(), address, 1, 0));
      assertEquals(Errno.EFAULT, Libc.errno());
    }

    mapping.close();
    mapping.close();
    assertEquals("", permissions(address));
  }

  /** What is mapped at an address may be used for (proc_pid_maps(5)), or empty for nothing. */
  private static String permissions(long address) throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/maps"))) {
      String[] words = line.split("[- ]", 3);
      if (Long.parseUnsignedLong(words[0], 16) <= address
          && address < Long.parseUnsignedLong(words[1], 16)) {
        return line.split(" ")[1];
      }
    }
    return "";
  }
}
