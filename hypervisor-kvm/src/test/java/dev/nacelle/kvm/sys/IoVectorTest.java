// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class IoVectorTest {
  private static final int DATA = 4096;

  private final Mapping mapping = Mapping.anonymous(1 << 20);
  private final IoVector vector = new IoVector(mapping, 0, 8);

  @TempDir Path directory;

  @AfterEach
  void close() {
    mapping.close();
  }

  @Test
  void endsItsWindowAmidASegment() {
    vector.add(mapping, DATA, 100);
    vector.add(mapping, DATA, 200);
    vector.add(mapping, DATA, 300);
    assertEquals(600, vector.remaining());
    assertEquals(150, vector.window(150));
    assertEquals(2, vector.segments());
    // A window that nobody used changes nothing.
    assertEquals(600, vector.window(1000));
    assertEquals(3, vector.segments());
  }

  @Test
  void goesOnWhereATransferEnded() {
    vector.add(mapping, DATA, 100);
    vector.add(mapping, DATA, 200);
    assertEquals(150, vector.window(150));
    vector.advance(130);
    assertEquals(170, vector.remaining());
    assertEquals(170, vector.window(1000));
    vector.advance(170);
    assertEquals(0, vector.remaining());
    assertEquals(0, vector.window(1000));
  }

  @Test
  void takesSegmentsUpToItsCapacityAndWithinTheMapping() {
    for (int i = 0; i < 8; i++) {
      vector.add(mapping, DATA, 1);
    }
    assertThrows(IndexOutOfBoundsException.class, () -> vector.add(mapping, DATA, 1));
    vector.clear();
    assertThrows(IndexOutOfBoundsException.class, () -> vector.add(mapping, 1 << 20, 1));
    assertEquals(0, vector.remaining());
  }

  @Test
  void carriesAFileOverInPiecesOfAnySize() throws Exception {
    byte[] bytes = new byte[10_000];
    Random random = new Random(5);
    random.nextBytes(bytes);
    Path from = Files.write(directory.resolve("from"), bytes);
    int[] lengths = {1, 999, 4000, 3, 5000 - 3};
    int at = DATA;
    for (int length : lengths) {
      vector.add(mapping, at, length);
      at += length + 17;
    }
    try (FileDescriptor file = FileDescriptor.openFile(from, false)) {
      for (int position = 0; vector.remaining() > 0; ) {
        long wanted = vector.window(1 + random.nextInt(700));
        int read = file.read(position, vector);
        assertEquals(wanted, read);
        vector.advance(read);
        position += read;
      }
      vector.clear();
      vector.add(mapping, 0x8000, 1);
      assertEquals(1, vector.window(1));
      assertEquals(0, file.read(10_000, vector), "the end of the file");
    }
    byte[] arrived = new byte[bytes.length];
    int done = 0;
    at = DATA;
    for (int length : lengths) {
      mapping.buffer(at, length).get(arrived, done, length);
      done += length;
      at += length + 17;
    }
    assertArrayEquals(bytes, arrived);
  }
}
