// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.tar;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.US_ASCII;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.ext4.DataRange;
import dev.nacelle.image.testing.TarMaker;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TarReaderTest {
  private static final int LIMIT = 100_000;

  private static TarReader reader(byte[] archive) {
    return new TarReader(new ByteArrayInputStream(archive), LIMIT);
  }

  private static TarEntry first(TarMaker maker) throws IOException {
    TarEntry entry = reader(maker.finish()).next();
    if (entry == null) {
      throw new AssertionError("no entry");
    }
    return entry;
  }

  private static String path(TarEntry entry) {
    return new String(entry.path(), UTF_8);
  }

  private static void assertFault(byte[] archive, String fault) {
    TarReader reader = reader(archive);
    TarException e =
        assertThrows(
            TarException.class,
            () -> {
              while (reader.next() != null) {
                reader.content().readAllBytes();
              }
            });
    assertTrue(String.valueOf(e.getMessage()).contains(fault), e.getMessage());
  }

  private static void assertFault(TarMaker maker, String fault) {
    assertFault(maker.finish(), fault);
  }

  private static byte[] bytes(String text) {
    return text.getBytes(ISO_8859_1);
  }

  @Test
  void everyTypeIsTold() throws IOException {
    TarMaker maker = new TarMaker();
    for (char type : "07123456".toCharArray()) {
      maker.add(TarMaker.header(type, "x").link("y").device(7, 8));
    }
    maker.add(TarMaker.header('\0', "file")).add(TarMaker.header('\0', "dir/"));
    TarReader reader = reader(maker.finish());
    StringBuilder types = new StringBuilder();
    for (TarEntry entry; (entry = reader.next()) != null; ) {
      types.append(entry.type()).append(' ').append(entry.major()).append(' ');
      types.append(new String(entry.linkTarget(), UTF_8)).append('\n');
    }

    assertEquals(
        """
        REGULAR_FILE 0\s
        REGULAR_FILE 0\s
        HARD_LINK 0 y
        SYMBOLIC_LINK 0 y
        CHARACTER_DEVICE 7\s
        BLOCK_DEVICE 7\s
        DIRECTORY 0\s
        FIFO 0\s
        REGULAR_FILE 0\s
        DIRECTORY 0\s
        """,
        types.toString());
  }

  @Test
  void contentThatNobodyReadsIsPassedOver() throws IOException {
    TarReader reader =
        reader(new TarMaker().file("a", "x".repeat(1000)).file("b", "content").finish());
    reader.next();
    reader.content().read();
    TarEntry second = reader.next();

    assertEquals("b", second == null ? "" : path(second));
    assertEquals("content", new String(reader.content().readAllBytes(), UTF_8));
    assertNull(reader.next());
  }

  @Test
  void theExtendedHeaderComesBeforeTheHeader() throws IOException {
    TarEntry entry =
        first(
            new TarMaker()
                .pax(
                    bytes("path"), bytes("long/\u00ff"),
                    bytes("linkpath"), bytes("target"),
                    bytes("uid"), bytes("4000000000"),
                    bytes("gid"), bytes("7"),
                    bytes("mtime"), bytes("-1.25"),
                    bytes("SCHILY.xattr.user.x"), bytes("\0\u00ff=\n"),
                    bytes("SCHILY.xattr.user.empty"), bytes(""),
                    bytes("comment"), bytes("anything"))
                .symbolicLink("short", "x"));

    assertArrayEquals(bytes("long/\u00ff"), entry.path());
    assertArrayEquals(bytes("target"), entry.linkTarget());
    assertEquals(4_000_000_000L, entry.uid());
    assertEquals(7, entry.gid());
    assertEquals(Instant.ofEpochSecond(-2, 750_000_000), entry.modified());
    assertArrayEquals(bytes("\0\u00ff=\n"), entry.xattrs().get("user.x"));
    assertArrayEquals(new byte[0], entry.xattrs().get("user.empty"));
    assertEquals(2, entry.xattrs().size());
  }

  @Test
  void theSizeOfTheExtendedHeaderCounts() throws IOException {
    TarMaker maker = new TarMaker().pax("size", "3").add(TarMaker.header('0', "f").size(0));
    maker.raw(Arrays.copyOf(bytes("abc"), 512)).file("g", "x");
    TarReader reader = reader(maker.finish());

    TarEntry entry = reader.next();
    assertEquals(3, entry == null ? -1 : entry.size());
    assertEquals("abc", new String(reader.content().readAllBytes(), UTF_8));
    TarEntry second = reader.next();
    assertEquals("g", second == null ? "" : path(second));
  }

  @Test
  void anExtendedHeaderIsForOneEntryAndAGlobalOneForNone() throws IOException {
    TarMaker maker = new TarMaker().pax("uid", "5").file("a", "").file("b", "");
    maker.add(TarMaker.header('g', "global"), bytes("10 gid=77\n\n")).file("c", "");
    TarReader reader = reader(maker.finish());
    StringBuilder ids = new StringBuilder();
    for (TarEntry entry; (entry = reader.next()) != null; ) {
      ids.append(path(entry)).append(entry.uid()).append(entry.gid()).append(' ');
    }

    assertEquals("a50 b00 c00 ", ids.toString());
  }

  @Test
  void longNamesInGnusManner() throws IOException {
    String name = "n".repeat(300);
    TarEntry entry =
        first(
            new TarMaker()
                .add(TarMaker.header('K', "././@LongLink"), bytes("t".repeat(200) + "\0"))
                .add(TarMaker.header('L', "././@LongLink"), bytes(name + "\0"))
                .symbolicLink("short", "short"));

    assertEquals(name, path(entry));
    assertEquals("t".repeat(200), new String(entry.linkTarget(), UTF_8));
  }

  @Test
  void theUstarPrefixComesBeforeTheName() throws IOException {
    assertEquals(
        "a/b/c",
        path(first(new TarMaker().add(TarMaker.header('0', "c").text(345, 155, bytes("a/b"))))));
    // GNU has times there.
    assertEquals(
        "c",
        path(
            first(
                new TarMaker()
                    .add(
                        TarMaker.header('0', "c")
                            .text(257, 8, bytes("ustar  \0"))
                            .text(345, 12, bytes("00000000000"))))));
  }

  @ParameterizedTest
  @CsvSource({
    "'0000644 ', 420",
    "'   644 \0', 420",
    "'', 0",
    "'0000644', 420",
    "'\u0080\0\0\0\0\0\1\0', 256",
    "'\u0080\u007f\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff', 36028797018963967"
  })
  void numbersAreOctalOrBinary(String field, long expected) throws IOException {
    assertEquals(
        expected,
        first(new TarMaker().add(TarMaker.header('0', "f").text(108, 8, bytes(field)))).uid());
  }

  @Test
  void timesBefore1970AreBinary() throws IOException {
    byte[] minusOne = new byte[12];
    Arrays.fill(minusOne, (byte) 0xff);

    assertEquals(
        Instant.ofEpochSecond(-1),
        first(new TarMaker().add(TarMaker.header('0', "f").text(136, 12, minusOne))).modified());
  }

  @Test
  void anArchiveMayEndAnywhereBetweenEntries() throws IOException {
    TarMaker maker = new TarMaker().file("a", "x");
    for (byte[] archive :
        new byte[][] {
          maker.unfinished(),
          Arrays.copyOf(maker.unfinished(), 513),
          Arrays.copyOf(maker.unfinished(), maker.unfinished().length + 512),
          maker.finish()
        }) {
      TarReader reader = reader(archive);
      assertEquals("a", String.valueOf(reader.next()));
      assertNull(reader.next());
      assertNull(reader.next());
    }
  }

  @Test
  void truncatedArchivesAreRefused() {
    byte[] archive = new TarMaker().pax("uid", "1").file("a", "content").unfinished();
    for (int length : new int[] {1, 511, 513, 1025, 1535, 1536 + 3}) {
      assertFault(Arrays.copyOf(archive, length), "the archive is truncated");
    }
    for (int length : new int[] {1023, 1024}) {
      assertFault(Arrays.copyOf(archive, length), "ends behind an extended header");
    }
  }

  /** Wherever it is cut, what was complete is read as it is, and the rest is an error or an end. */
  @Test
  void anArchiveCutAnywhereGivesItsFirstEntriesAndNoOther() throws IOException {
    byte[] archive =
        new TarMaker()
            .directory("d/")
            .pax("uid", "70000", "SCHILY.xattr.user.x", "y")
            .file("d/a", "x".repeat(1000))
            .add(TarMaker.header('L', "././@LongLink"), bytes("n".repeat(600) + "\0"))
            .file("short", "y")
            .pax("GNU.sparse.map", "0,3,5000,2", "GNU.sparse.size", "6000")
            .file("sparse", "abcde")
            .symbolicLink("s", "d/a")
            .unfinished();
    List<String> whole = entries(archive);
    assertEquals(5, whole.size());
    for (int length = 0; length < archive.length; length++) {
      List<String> part = entries(Arrays.copyOf(archive, length));
      boolean ends = part.isEmpty() || !part.get(part.size() - 1).startsWith("fault");
      List<String> good = ends ? part : part.subList(0, part.size() - 1);
      assertEquals(whole.subList(0, good.size()), good);
      if (!ends) {
        String offset = part.get(part.size() - 1).replace("fault at ", "");
        assertEquals(0, Integer.parseInt(offset) % 512, "cut at " + length);
        assertTrue(Integer.parseInt(offset) <= length, "cut at " + length);
      }
    }
  }

  private static List<String> entries(byte[] archive) throws IOException {
    List<String> entries = new ArrayList<>();
    TarReader reader = reader(archive);
    try {
      for (TarEntry entry; (entry = reader.next()) != null; ) {
        byte[] content = reader.content().readAllBytes();
        entries.add(entry + " " + reader.offset() + " " + Arrays.hashCode(content));
      }
    } catch (TarException e) {
      entries.add("fault at " + reader.offset());
    }
    return entries;
  }

  @Test
  void theOffsetIsThatOfTheFirstHeaderOfAnEntry() throws IOException {
    TarReader reader =
        reader(new TarMaker().file("a", "1").pax("uid", "1").file("b", "2").file("c", "").finish());
    reader.next();
    assertEquals(0, reader.offset());
    reader.next();
    assertEquals(1024, reader.offset());
    reader.next();
    assertEquals(1024 + 2048, reader.offset());
  }

  @Test
  void whatIsNoArchiveIsRefused() {
    assertFault("x".repeat(1024).getBytes(US_ASCII), "no number");
    byte[] damaged = new TarMaker().file("a", "x").finish();
    damaged[0] ^= 1;
    assertFault(damaged, "checksum");
    assertFault(
        new TarMaker().raw(new byte[512]).file("a", "x"), "goes on behind a block of zeros");
    assertFault(new TarMaker().add(TarMaker.header('Q', "x")), "unknown type 0x51");
    assertFault(new TarMaker().file("", ""), "no name");
    assertFault(new TarMaker().add(TarMaker.header('0', "x").text(100, 8, bytes("9"))), "mode");
    byte[] negative = new byte[12];
    Arrays.fill(negative, (byte) 0xff);
    assertFault(new TarMaker().add(TarMaker.header('0', "x").text(124, 12, negative)), "negative");
    byte[] huge = negative.clone();
    huge[0] = (byte) 0x80;
    assertFault(new TarMaker().add(TarMaker.header('0', "x").text(124, 12, huge)), "63 bits");
  }

  @ParameterizedTest
  @CsvSource({
    "-2, 4294967294",
    "-2147483648, 2147483648",
    "4294967294, 4294967294",
    "-1, 0",
    "4294967295, 0"
  })
  void ownersAreUnsignedAndMinusOneIsNobodys(long said, long uid) throws IOException {
    byte[] binary = ByteBuffer.allocate(8).putLong(said).array();
    binary[0] = (byte) (said < 0 ? 0xff : 0x80);
    TarMaker.Header header = TarMaker.header('0', "f").text(108, 8, binary).text(116, 8, binary);

    TarEntry inHeader = first(new TarMaker().add(header));
    TarEntry inPax =
        first(new TarMaker().pax("uid", "" + said, "gid", "" + said).file("f", "content"));

    assertEquals(uid, inHeader.uid());
    assertEquals(uid, inHeader.gid());
    assertEquals(uid, inPax.uid());
    assertEquals(uid, inPax.gid());
  }

  @Test
  void keysAreBytes() throws IOException {
    TarEntry entry =
        first(
            new TarMaker()
                .pax(
                    bytes("SCHILY.xattr.user.caf\u00e9"),
                    bytes("x"),
                    bytes("CREATOR.n\u00e4me"),
                    bytes("x"))
                .file("f", ""));

    assertEquals(Set.of("user.caf\u00e9"), entry.xattrs().keySet());
    assertEquals(
        Set.of(new String("user.\u00e9".getBytes(UTF_8), ISO_8859_1)),
        first(new TarMaker().pax("SCHILY.xattr.user.\u00e9", "x").file("f", "")).xattrs().keySet());
  }

  @Test
  void timesBeyondAllRangesAreTheNearestThereIs() throws IOException {
    byte[] binary = new byte[12];
    binary[0] = (byte) 0x80;
    binary[4] = 0x7f;
    assertEquals(
        Instant.MAX,
        first(new TarMaker().add(TarMaker.header('0', "f").text(136, 12, binary))).modified());
    for (String time : List.of("99999999999999999", "9".repeat(30) + ".5")) {
      assertEquals(Instant.MAX, first(new TarMaker().pax("mtime", time).file("f", "")).modified());
      assertEquals(
          Instant.MIN, first(new TarMaker().pax("mtime", "-" + time).file("f", "")).modified());
    }
  }

  @ParameterizedTest
  @CsvSource({
    "uid, -2147483649, negative",
    "uid, -, no number",
    "size, -1, no number",
    "uid, 99999999999999999999, no number",
    "size, 1e3, no number",
    "mtime, soon, no time",
    "mtime, 1e999999999, no time"
  })
  void valuesThatAreNoneAreRefused(String key, String value, String fault) {
    assertFault(new TarMaker().pax(key, value).file("f", ""), fault);
  }

  @Test
  void namesWithANulAreRefused() {
    assertFault(new TarMaker().pax("path", "a\0b").file("f", ""), "holds a NUL");
    assertFault(new TarMaker().pax("linkpath", "a\0b").symbolicLink("f", "x"), "holds a NUL");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "x",
        "5 a=b",
        "7 a=b\n",
        "5 a=b\n",
        "6 ab\n",
        "-6 a=b\n",
        "999999999999 a=b\n",
        "2 a=b\n",
        "0 a=b\n",
        " 6 a=b\n",
        "6\ta=b\n"
      })
  void malformedExtendedHeadersAreRefused(String records) {
    assertFault(
        new TarMaker().add(TarMaker.header('x', "x"), bytes(records)).file("f", ""), "PAX header");
  }

  @Test
  void extendedHeadersOverTheLimitAreNotRead() {
    for (char type : "xLK".toCharArray()) {
      assertFault(
          new TarMaker().add(TarMaker.header(type, "x").size(LIMIT + 1)), "more than the limit");
      assertFault(new TarMaker().add(TarMaker.header(type, "x").size(1L << 32)), "the limit");
    }
  }

  @Test
  void sparseFilesOfTheOldFormat() throws IOException {
    TarMaker.Header header = TarMaker.header('S', "f");
    header.octal(386, 12, 0).octal(398, 12, 3).octal(410, 12, 8192).octal(422, 12, 2);
    header.octal(483, 12, 10_000);
    TarReader reader = reader(new TarMaker().add(header, bytes("abcde")).finish());
    TarEntry entry = reader.next();

    assertEquals(10_000, entry == null ? 0 : entry.size());
    assertEquals(
        List.of(new DataRange(0, 3), new DataRange(8192, 2)), entry == null ? null : entry.data());
    assertEquals("abcde", new String(reader.content().readAllBytes(), UTF_8));
  }

  @ParameterizedTest
  @CsvSource({
    "'0,3,2,2', 100, out of order",
    "'0,3,5', 100, odd number",
    "'0,3,5,2', 6, does not agree",
    "'0,3', 100, does not agree",
    "'0,3,5,9223372036854775807', 100, out of order",
    "'0,x', 100, no number",
    "'0,3,5,2', -1, no number"
  })
  void sparseMapsThatCannotBeAreRefused(String map, String size, String fault) {
    assertFault(
        new TarMaker().pax("GNU.sparse.map", map, "GNU.sparse.size", size).file("f", "abcde"),
        fault);
  }

  @ParameterizedTest
  @CsvSource({
    "'1\n0\n', no number",
    "'9999999999\n', no number",
    "'x\n', no number",
    "'123456789012345678901\n', line that is no number"
  })
  void sparseMapsInFrontOfTheDataAreChecked(String map, String fault) {
    assertFault(
        new TarMaker()
            .pax(
                "GNU.sparse.major",
                "1",
                "GNU.sparse.minor",
                "0",
                "GNU.sparse.name",
                "f",
                "GNU.sparse.realsize",
                "100")
            .add(TarMaker.header('0', "x"), Arrays.copyOf(bytes(map), 512)),
        fault);
  }

  @Test
  void sparseMapsAreBounded() {
    StringBuilder map = new StringBuilder("300000\n");
    for (int i = 0; i < 300_000; i++) {
      map.append(i * 2).append("\n1\n");
    }
    assertFault(
        new TarMaker()
            .pax("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.realsize", "600000")
            .file("x", map.toString()),
        "more than 262144 ranges");
  }
}
