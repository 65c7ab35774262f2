// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class LzBlockTest {
  @TempDir Path directory;

  /** Literals and repetitions of all lengths, from all distances that either format can name. */
  private static byte[] content(long seed) {
    Random random = new Random(seed);
    byte[] made = new byte[200_000];
    int size = 0;
    while (size < made.length) {
      int literals = 1 << random.nextInt(10);
      int length = 1 + random.nextInt(2 << random.nextInt(11));
      int distance = 1 + random.nextInt(1 << 1 + random.nextInt(16));
      for (int i = 0; i < literals && size < made.length; i++) {
        made[size++] = (byte) random.nextInt(256);
      }
      for (int i = 0; i < length && size < made.length && size >= distance; i++, size++) {
        made[size] = made[size - distance];
      }
    }
    return made;
  }

  @ParameterizedTest
  @ValueSource(strings = {"lz4 -l -1 - -", "lz4 -l -9 - -", "lzop -1", "lzop -3", "lzop -9"})
  void unpacksWhatTheToolsPack(String command) throws IOException {
    for (int seed = 0; seed < 20; seed++) {
      byte[] content = content(seed);
      byte[] packed = TestTools.pipe(content, command.split(" "));
      Path file = Files.createTempFile(directory, "unpacked", "");
      byte[] payload =
          ByteBuffer.allocate(packed.length + 4)
              .order(ByteOrder.LITTLE_ENDIAN)
              .put(packed)
              .putInt(content.length)
              .array();
      KernelPayload.unpack(command, payload, file);
      assertArrayEquals(content, Files.readAllBytes(file), command + ", " + seed);
    }
  }

  /** By hand, from the descriptions of the formats. */
  @ParameterizedTest
  @CsvSource({
    // Three literals, a copy of 7 from 3 back, the end.
    "lz4, 33616263 0300 00, abcabcabca",
    // 18 literals and no copy.
    "lz4, f003 616263646566676869616263646566676869, abcdefghiabcdefghi",
    // Four literals by the first byte, a copy of 3 from 4 back, the end.
    "lzo, 15 61626364 4c00 110000, abcdabc",
    // A first byte that leaves two literals before a copy of 2 from 1 back.
    "lzo, 13 6161 0000 110000, aaaa",
    // A long run of literals (3 + 15 + 1), then 33 + 2 + 1 from 19 back.
    "lzo, 0001 6162636465666768696a6b6c6d6e6f70717273 20 01 4800 110000,"
        + " abcdefghijklmnopqrsabcdefghijklmnopqrsabcdefghijklmno",
  })
  void followsTheDescriptions(String format, String hex, String expected) throws IOException {
    byte[] in = HexFormat.of().parseHex(hex.replace(" ", ""));
    byte[] out = new byte[100];
    int size = format.equals("lz4") ? LzBlock.lz4(in, 0, in.length, out) : LzBlock.lzo1x(in, out);
    assertEquals(expected, new String(out, 0, size, StandardCharsets.US_ASCII));
  }

  @ParameterizedTest
  @CsvSource({
    "lz4, 33616263 0400 00, repeats what is 4 bytes back",
    "lz4, 33616263 0000 00, repeats what is 0 bytes back",
    "lz4, 33616263 03, ends too early",
    "lz4, 43616263, ends too early",
    "lz4, 3f616263 0300 ff ff ff ff ff, more than 100 bytes",
    "lzo, 15 61626364 4c00, ends too early",
    "lzo, 15 61626364 5000 110000, repeats what is 5 bytes back",
    "lzo, 15 61626364 4c00 110000 00, goes on behind its end",
    "lzo, 11 61, later version",
    "lzo, 00 00 00, more than 100 bytes",
  })
  void refusesWhatIsDamaged(String format, String hex, String expected) {
    byte[] in = HexFormat.of().parseHex(hex.replace(" ", ""));
    byte[] out = new byte[100];
    IOException e =
        assertThrows(
            IOException.class,
            () -> {
              if (format.equals("lz4")) {
                LzBlock.lz4(in, 0, in.length, out);
              } else {
                LzBlock.lzo1x(in, out);
              }
            });
    assertTrue(e.getMessage().contains(expected), e.getMessage());
  }

  @Test
  void lengthsThatWouldOverflowAreRefusedAtOnce() {
    byte[] lz4 = new byte[20 << 20];
    Arrays.fill(lz4, (byte) 0xff);
    assertThrows(IOException.class, () -> LzBlock.lz4(lz4, 0, lz4.length, new byte[1 << 20]));
    byte[] lzo = new byte[20 << 20];
    assertThrows(IOException.class, () -> LzBlock.lzo1x(lzo, new byte[1 << 20]));
  }
}
