// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.Random;
import java.util.zip.CRC32;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;

class GzipTest {
  private static final int EXTRA = 4;
  private static final int NAME = 8;
  private static final int COMMENT = 16;
  private static final int CHECKSUM = 2;

  private static byte[] gzip(byte[] content) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(out)) {
      gzip.write(content);
    }
    return out.toByteArray();
  }

  /** A member whose header has more. */
  private static byte[] gzip(String content, int flags, byte[] more) throws IOException {
    byte[] plain = gzip(content.getBytes(UTF_8));
    plain[3] = (byte) flags;
    return join(Arrays.copyOf(plain, 10), more, Arrays.copyOfRange(plain, 10, plain.length));
  }

  private static byte[] join(byte[]... parts) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      out.writeBytes(part);
    }
    return out.toByteArray();
  }

  private static byte[] unpack(byte[] packed) throws IOException {
    try (InputStream in = Gzip.open(new ByteArrayInputStream(packed))) {
      return in.readAllBytes();
    }
  }

  private static String text(byte[] packed) throws IOException {
    return new String(unpack(packed), UTF_8);
  }

  @Test
  void membersAreOneStream() throws IOException {
    byte[] random = new byte[200_000];
    new Random(1).nextBytes(random);
    byte[] packed = join(gzip(random), gzip(new byte[0]), gzip(new byte[300_000]));

    byte[] expected = join(random, new byte[300_000]);
    assertEquals(-1, Arrays.mismatch(expected, unpack(packed)));
    // One byte at a time, as a slow connection may give them.
    InputStream slow =
        new ByteArrayInputStream(packed) {
          @Override
          public synchronized int read(byte[] bytes, int offset, int length) {
            return super.read(bytes, offset, Math.min(length, 1));
          }
        };
    try (InputStream in = Gzip.open(slow)) {
      assertEquals(-1, Arrays.mismatch(expected, in.readAllBytes()));
    }
  }

  @Test
  void extraDataMayBeAnything() throws IOException {
    // The footer of the first stargz: an offset in digits, in an extra field that has no subfields.
    byte[] footer = "0000000000000123STARGZ".getBytes(UTF_8);
    byte[] extra = join(new byte[] {(byte) footer.length, 0}, footer);

    assertEquals("content", text(join(gzip("content", 0, extra(0)), gzip("", EXTRA, extra))));
    assertEquals("content", text(gzip("content", EXTRA, extra(0xffff))));
  }

  private static byte[] extra(int length) {
    return length == 0
        ? new byte[0]
        : join(new byte[] {(byte) length, (byte) (length >> 8)}, new byte[length]);
  }

  @Test
  void namesCommentsAndChecksumsOfHeadersArePassedOver() throws IOException {
    byte[] more = "name\0comment\0".getBytes(UTF_8);
    CRC32 crc = new CRC32();
    byte[] whole = gzip("x", NAME | COMMENT | CHECKSUM, more);
    crc.update(whole, 0, 10 + more.length);
    byte[] sum = {(byte) crc.getValue(), (byte) (crc.getValue() >> 8)};

    assertEquals("x", text(gzip("x", NAME | COMMENT | CHECKSUM, join(more, sum))));
    sum[0]++;
    assertFault(
        gzip("x", NAME | COMMENT | CHECKSUM, join(more, sum)),
        "the checksum of a member's header is wrong");
  }

  private static void assertFault(byte[] packed, String fault) {
    IOException e = assertThrows(IOException.class, () -> unpack(packed));
    assertEquals(fault, e.getMessage());
  }

  @Test
  void whatIsCutOffIsAnError() throws IOException {
    byte[] packed = join(gzip("one".getBytes(UTF_8)), gzip("two".getBytes(UTF_8)));
    int end = gzip("one".getBytes(UTF_8)).length;
    for (int length = 0; length < packed.length; length++) {
      byte[] cut = Arrays.copyOf(packed, length);
      if (length == end) {
        assertEquals("one", text(cut));
      } else {
        assertFault(cut, "it ends in the midst of a member");
      }
    }
  }

  @Test
  void whatIsDamagedIsAnError() throws IOException {
    byte[] packed = gzip("content".getBytes(UTF_8));
    assertFault(join(packed, new byte[2]), "it goes on behind its end");
    assertFault(new byte[20], "it is no gzip");
    byte[] damaged = packed.clone();
    damaged[damaged.length - 8]++;
    assertFault(damaged, "the checksum or size of a member is wrong");
    damaged = packed.clone();
    damaged[damaged.length - 4]++;
    assertFault(damaged, "the checksum or size of a member is wrong");
    damaged = packed.clone();
    damaged[3] = 0x20;
    assertFault(damaged, "a member's header is of an unknown kind");
    damaged = packed.clone();
    damaged[10] = 7; // a block of the type that there is not
    byte[] last = damaged;
    assertThrows(IOException.class, () -> unpack(last));
  }
}
