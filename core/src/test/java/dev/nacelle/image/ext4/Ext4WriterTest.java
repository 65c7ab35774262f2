// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.RepeatingStream;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.image.testing.TreeListing;
import java.io.ByteArrayInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.UUID;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the writer writes is read back by e2fsck and by the kernel of this machine. */
class Ext4WriterTest {
  private static final Ext4Options OPTIONS =
      Ext4Options.of(UUID.fromString("6e616365-6c6c-4500-8000-000000000001"));
  private static final Instant TIME = Instant.ofEpochSecond(1_700_000_000L, 123_456_789);
  private static final InodeAttributes PLAIN = new InodeAttributes(0644, 0, 0, TIME);

  @TempDir Path temp;

  @FunctionalInterface
  private interface Content {
    void write(Ext4Writer writer) throws IOException;
  }

  private Path write(Ext4Options options, Content content) throws IOException {
    Path image = temp.resolve("image");
    try (Ext4Writer writer = Ext4Writer.create(image, options)) {
      content.write(writer);
      writer.finish();
    }
    return image;
  }

  /** Writes, checks, mounts read-only and lists. */
  private TreeListing list(Content content) throws IOException {
    Path image = write(OPTIONS, content);
    MountedImage.check(image);
    try (MountedImage mounted = MountedImage.mount(image, "ro")) {
      return TreeListing.of(mounted.root());
    }
  }

  private static FileName name(String name) {
    return FileName.of(name);
  }

  private static InputStream bytes(String text) {
    return new ByteArrayInputStream(text.getBytes(UTF_8));
  }

  private static InputStream random(long seed, int length) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return new ByteArrayInputStream(bytes);
  }

  private static void file(Ext4Writer writer, Directory parent, String name, String content)
      throws IOException {
    writer.createFile(parent, name(name), PLAIN, content.getBytes(UTF_8).length, bytes(content));
  }

  @Test
  void anEmptyTreeIsACleanFilesystem() throws IOException {
    TreeListing tree = list(writer -> {});

    assertEquals(1, tree.paths().size());
    assertEquals("755", tree.get("").mode());
  }

  @Test
  void filesOfEveryTypeKeepTypeModeOwnerSizeAndTime() throws IOException {
    TreeListing tree =
        list(
            writer -> {
              Directory root = writer.root();
              Directory directory =
                  writer.createDirectory(root, name("dir"), new InodeAttributes(01777, 1, 2, TIME));
              writer.createFile(
                  directory,
                  name("file"),
                  new InodeAttributes(06755, 0xFFFF_FFFEL, 100_000, TIME),
                  5,
                  bytes("hello"));
              InodeAttributes device = new InodeAttributes(0660, 0, 6, TIME);
              SpecialFile.Type character = SpecialFile.Type.CHARACTER_DEVICE;
              SpecialFile.Type block = SpecialFile.Type.BLOCK_DEVICE;
              writer.createSpecialFile(root, name("null"), device, character, 1, 3);
              writer.createSpecialFile(root, name("sda"), device, block, 8, 0);
              writer.createSpecialFile(root, name("big"), device, block, 4095, 1_048_575);
              writer.createSpecialFile(root, name("fifo"), device, SpecialFile.Type.FIFO, 0, 0);
              writer.createSpecialFile(root, name("socket"), device, SpecialFile.Type.SOCKET, 0, 0);
              writer.createSymbolicLink(root, name("link"), PLAIN, "dir/file".getBytes(UTF_8));
              writer.setAttributes(root, new InodeAttributes(0711, 7, 8, TIME));
            });

    assertEquals(9, tree.paths().size());
    TreeListing.Entry file = tree.get("dir/file");
    assertEquals("f", file.type());
    assertEquals("6755", file.mode());
    assertEquals("4294967294", file.uid());
    assertEquals("100000", file.gid());
    assertEquals(5, file.size());
    assertEquals("1700000000.1234567890", file.modified());
    assertEquals(
        "324dcf027dd4a30a932c441f365a25e86b173defa4b8e58948253471b81b72cf", file.blake2b());
    assertEquals("1777", tree.get("dir").mode());
    assertEquals("711", tree.get("").mode());
    assertEquals("8", tree.get("").gid());
    assertEquals("c 1:3", tree.get("null").type() + " " + tree.get("null").device());
    assertEquals("b 8:0", tree.get("sda").type() + " " + tree.get("sda").device());
    assertEquals("b fff:fffff", tree.get("big").type() + " " + tree.get("big").device());
    assertEquals("p", tree.get("fifo").type());
    assertEquals("s", tree.get("socket").type());
    assertEquals("777", tree.get("link").mode());
    assertEquals("dir/file", tree.get("link").link());
  }

  @Test
  void timesBeforeAndAfter32BitsAreKept() throws IOException {
    List<Long> times =
        List.of(-1L, 0L, (long) Integer.MIN_VALUE, 1L << 31, 1L << 32, (3L << 32) + 12_345);
    TreeListing tree =
        list(
            writer -> {
              for (long seconds : times) {
                Instant time = Instant.ofEpochSecond(seconds, 999_999_999);
                InodeAttributes attributes = new InodeAttributes(0755, 0, 0, time);
                writer.createDirectory(writer.root(), name("t" + seconds), attributes);
              }
            });

    for (long seconds : times) {
      assertEquals(seconds + ".9999999990", tree.get("t" + seconds).modified());
    }
  }

  @Test
  void timesThatExt4CannotHoldBecomeTheNearestThatItCan() throws IOException {
    TreeListing tree =
        list(
            writer -> {
              InodeAttributes past = new InodeAttributes(0755, 0, 0, Instant.MIN);
              InodeAttributes future = new InodeAttributes(0755, 0, 0, Instant.MAX);
              writer.createDirectory(writer.root(), name("past"), past);
              writer.createDirectory(writer.root(), name("future"), future);
            });

    assertEquals("-2147483648.0000000000", tree.get("past").modified());
    assertEquals("15032385535.0000000000", tree.get("future").modified());
  }

  @Test
  void namesAreBytes() throws IOException {
    byte[] all = new byte[254];
    for (int i = 0, b = 1; b < 256; b++) {
      if (b != '/') {
        all[i++] = (byte) b;
      }
    }
    TreeListing tree =
        list(
            writer -> {
              writer.createDirectory(writer.root(), FileName.of(all), PLAIN);
              writer.createDirectory(writer.root(), name("ü".repeat(127) + "x"), PLAIN);
              writer.createDirectory(writer.root(), name("..."), PLAIN);
            });

    assertTrue(tree.paths().contains(new String(all, ISO_8859_1)));
    assertTrue(tree.paths().contains(TreeListing.path("ü".repeat(127) + "x")));
    assertTrue(tree.paths().contains("..."));
    assertEquals(4, tree.paths().size());
  }

  @Test
  void symbolicLinksOfEveryLengthKeepTheirTarget() throws IOException {
    String target = "\u00ffx".repeat(2048);
    List<Integer> lengths = List.of(1, 59, 60, 4095);
    TreeListing tree =
        list(
            writer -> {
              for (int length : lengths) {
                byte[] bytes = target.substring(0, length).getBytes(ISO_8859_1);
                writer.createSymbolicLink(writer.root(), name("l" + length), PLAIN, bytes);
              }
            });

    for (int length : lengths) {
      assertEquals(target.substring(0, length), tree.get("l" + length).link());
    }
  }

  @Test
  void hardLinksAreOneInode() throws IOException {
    TreeListing tree =
        list(
            writer -> {
              Directory root = writer.root();
              RegularFile file = writer.createFile(root, name("a"), PLAIN, 1, bytes("x"));
              Directory directory = writer.createDirectory(root, name("dir"), PLAIN);
              writer.link(directory, name("b"), file);
              SymbolicLink link =
                  writer.createSymbolicLink(root, name("s"), PLAIN, new byte[] {'a'});
              writer.link(directory, name("t"), link);
            });

    assertEquals("a", tree.get("dir/b").sameAs());
    assertEquals("dir/t", tree.get("s").sameAs());
    assertEquals("l", tree.get("dir/t").type());
  }

  @Test
  void aFileHasAtMost65000Links() throws IOException {
    list(
        writer -> {
          RegularFile file = writer.createFile(writer.root(), name("0"), PLAIN, 0, bytes(""));
          for (int i = 1; i < 65_000; i++) {
            writer.link(writer.root(), name(Integer.toString(i)), file);
          }
          assertThrows(
              Ext4LimitException.class, () -> writer.link(writer.root(), name("more"), file));
        });
  }

  @Test
  void extendedAttributesLiveInTheInodeAndInABlock() throws IOException {
    byte[] capability = HexFormat.of().parseHex("0100000200200080000000000000000000000000");
    byte[] acl =
        HexFormat.of()
            .parseHex(
                "02000000"
                    + "01000600ffffffff"
                    + "02000700e9030000"
                    + "04000400ffffffff"
                    + "10000700ffffffff"
                    + "20000400ffffffff");
    byte[] large = new byte[3000];
    new Random(1).nextBytes(large);
    Map<String, byte[]> many =
        Map.of(
            "user.large",
            large,
            "user.empty",
            new byte[0],
            "user.b",
            new byte[] {1},
            "trusted.a",
            new byte[] {2, 3},
            "security.capability",
            capability,
            "system.posix_acl_access",
            acl);
    TreeListing tree =
        list(
            writer -> {
              Directory root = writer.root();
              Directory directory =
                  writer.createDirectory(
                      root,
                      name("dir"),
                      with(Map.of("system.posix_acl_default", acl, "user.d", new byte[300])));
              writer.createFile(directory, name("many"), with(many), 1, bytes("x"));
              writer.createFile(root, name("same"), with(many), 1, bytes("x"));
              writer.createFile(
                  root,
                  name("ping"),
                  with(Map.of("security.capability", capability)),
                  0,
                  bytes(""));
              writer.createSymbolicLink(
                  root, name("link"), with(Map.of("trusted.l", new byte[200])), new byte[] {'x'});
            });

    String xattrs = tree.get("dir/many").xattrs();
    assertTrue(xattrs.contains("user.large=0x" + HexFormat.of().formatHex(large)), xattrs);
    assertTrue(xattrs.contains("user.empty=0x\n") || xattrs.contains("user.empty\n"), xattrs);
    assertTrue(xattrs.contains("trusted.a=0x0203"), xattrs);
    assertTrue(xattrs.contains("security.capability=0x" + HexFormat.of().formatHex(capability)));
    assertTrue(xattrs.contains("system.posix_acl_access=0x" + HexFormat.of().formatHex(acl)));
    assertEquals(xattrs, tree.get("same").xattrs());
    assertEquals(
        "security.capability=0x" + HexFormat.of().formatHex(capability), tree.get("ping").xattrs());
    assertTrue(tree.get("dir").xattrs().contains("system.posix_acl_default=0x0200"));
    assertEquals("trusted.l=0x" + "00".repeat(200), tree.get("link").xattrs());
  }

  private static InodeAttributes with(Map<String, byte[]> xattrs) {
    // A file's mode must agree with its ACL: the group bits are the mask.
    return new InodeAttributes(0674, 0, 0, TIME, ExtendedAttributes.of(xattrs));
  }

  @Test
  void manyInodesShareAnAttributeBlock() throws IOException {
    Path image =
        write(
            OPTIONS,
            writer -> {
              for (int i = 0; i < 3000; i++) {
                InodeAttributes attributes = with(Map.of("user.x", new byte[2000]));
                writer.createFile(writer.root(), name("f" + i), attributes, 0, bytes(""));
              }
            });

    MountedImage.check(image);
    assertTrue(allocated(image) < 4 << 20, "bytes: " + allocated(image));
  }

  private static long allocated(Path image) throws IOException {
    return 512
        * Long.parseLong(Tool.run(image.getParent(), "stat", "-c%b", image.toString()).strip());
  }

  @Test
  void aSparseFileOver4GiBKeepsItsHoles() throws IOException {
    long size = (5L << 30) + 7;
    List<DataRange> data =
        List.of(
            new DataRange(10, 0),
            new DataRange(512, 512),
            new DataRange(1536, 512),
            new DataRange(8192, 4096),
            new DataRange(12288 + 512, 1),
            new DataRange((4L << 30) + 1, 5000),
            new DataRange(size - 3, 3));
    byte[] content = new byte[512 + 512 + 4096 + 1 + 5000 + 3];
    new Random(2).nextBytes(content);
    Path image =
        write(
            OPTIONS,
            writer ->
                writer.createSparseFile(
                    writer.root(),
                    name("sparse"),
                    PLAIN,
                    size,
                    data,
                    new ByteArrayInputStream(content)));

    MountedImage.check(image);
    assertTrue(allocated(image) < 1 << 20);
    try (MountedImage mounted = MountedImage.mount(image, "ro");
        FileChannel file = FileChannel.open(mounted.root().resolve("sparse"))) {
      assertEquals(size, file.size());
      int from = 0;
      long end = 0;
      for (DataRange range : data) {
        assertZeros(file, end, Math.min(range.offset() - end, 8192));
        byte[] part = new byte[(int) range.length()];
        file.read(ByteBuffer.wrap(part), range.offset());
        byte[] expected = Arrays.copyOfRange(content, from, from + part.length);
        assertArrayEquals(expected, part, "at " + range);
        from += part.length;
        end = range.end();
      }
    }
  }

  private static void assertZeros(FileChannel file, long offset, long length) throws IOException {
    byte[] part = new byte[(int) length];
    file.read(ByteBuffer.wrap(part), offset);
    assertArrayEquals(new byte[part.length], part, "at " + offset);
  }

  @Test
  void fragmentedFilesHaveExtentTreesOfEveryShape() throws IOException {
    List<Integer> counts = List.of(4, 5, 340, 341, 1360, 1361);
    Map<String, byte[]> contents = new HashMap<>();
    Path image =
        write(
            OPTIONS,
            writer -> {
              for (int count : counts) {
                byte[] content = random(count, count * 4096).readAllBytes();
                contents.put("f" + count, content);
                List<DataRange> data =
                    IntStream.range(0, count)
                        .mapToObj(i -> new DataRange(i * 8192L, 4096))
                        .toList();
                writer.createSparseFile(
                    writer.root(),
                    name("f" + count),
                    PLAIN,
                    count * 8192L,
                    data,
                    new ByteArrayInputStream(content));
              }
            });

    MountedImage.check(image);
    try (MountedImage mounted = MountedImage.mount(image, "ro")) {
      for (int count : counts) {
        byte[] actual = Files.readAllBytes(mounted.root().resolve("f" + count));
        assertEquals(count * 8192, actual.length);
        for (int i = 0; i < count; i++) {
          assertTrue(
              Arrays.equals(
                  contents.get("f" + count),
                  i * 4096,
                  i * 4096 + 4096,
                  actual,
                  i * 8192,
                  i * 8192 + 4096),
              "extent " + i + " of " + count);
        }
      }
    }
  }

  @Test
  void aDirectoryOf100000EntriesIsIndexed() throws IOException {
    int count = 100_000;
    Path image =
        write(
            OPTIONS,
            writer -> {
              Directory directory = writer.createDirectory(writer.root(), name("big"), PLAIN);
              RegularFile file = writer.createFile(directory, name("ü0"), PLAIN, 0, bytes(""));
              for (int i = 1; i < count; i++) {
                if (i % 60_000 == 0) {
                  file = writer.createFile(directory, name("ü" + i), PLAIN, 0, bytes(""));
                } else {
                  writer.link(directory, name("ü" + i), file);
                }
              }
            });

    MountedImage.check(image);
    String stat = Tool.run(temp, "debugfs", "-R", "stat /big", image.toString());
    assertTrue(stat.contains("Flags: 0x81000"), stat);
    try (MountedImage mounted = MountedImage.mount(image, "ro")) {
      Path directory = mounted.root().resolve("big");
      try (Stream<Path> entries = Files.list(directory)) {
        assertEquals(count, entries.count());
      }
      for (int i = 0; i < count; i += 97) {
        assertTrue(Files.exists(directory.resolve("ü" + i)), "ü" + i);
      }
      assertFalse(Files.exists(directory.resolve("ü" + count)));
    }
  }

  @Test
  void theIndexOfADirectoryCanHaveTwoLevels() throws IOException {
    int count = 10_000;
    Path image =
        write(
            OPTIONS,
            writer -> {
              RegularFile file = writer.createFile(writer.root(), name("f"), PLAIN, 0, bytes(""));
              for (int i = 0; i < count; i++) {
                writer.link(writer.root(), name("n".repeat(240) + i), file);
              }
            });

    MountedImage.check(image);
    String dump = Tool.run(temp, "debugfs", "-R", "htree /", image.toString());
    assertTrue(dump.contains("Indirect levels: 1"), dump.substring(0, 400));
    try (MountedImage mounted = MountedImage.mount(image, "ro")) {
      for (int i = 0; i < count; i++) {
        assertTrue(Files.exists(mounted.root().resolve("n".repeat(240) + i)));
      }
    }
  }

  @Test
  void namesWithTheSameHashAreFoundOnBothSidesOfALeafsEnd() throws IOException {
    DirectoryHash hash = new DirectoryHash(Superblock.uuidBytes(OPTIONS));
    Map<Integer, String> seen = new HashMap<>();
    String one = "";
    String two = "";
    for (int i = 0; one.isEmpty(); i++) {
      // 248 bytes make entries of 256, of which 16 fill a block.
      two = String.format("%0248d", i);
      one = Objects.requireNonNullElse(seen.put(majorHash(hash, two), two), "");
    }
    int collision = majorHash(hash, two);
    List<String> lower =
        seen.entrySet().stream()
            .filter(e -> Integer.compareUnsigned(e.getKey(), collision) < 0)
            .map(Map.Entry::getValue)
            .limit(31)
            .toList();
    assertEquals(31, lower.size());
    List<String> names = new ArrayList<>(lower);
    names.addAll(List.of(one, two));
    Path image =
        write(
            OPTIONS,
            writer -> {
              for (String entry : names) {
                file(writer, writer.root(), entry, entry);
              }
            });

    MountedImage.check(image);
    try (MountedImage mounted = MountedImage.mount(image, "ro")) {
      for (String entry : names) {
        assertEquals(entry, Files.readString(mounted.root().resolve(entry)));
      }
    }
  }

  private static int majorHash(DirectoryHash hash, String name) {
    return (int) (hash.of(name.getBytes(UTF_8)) >>> 32);
  }

  @Test
  void moreThan65000SubdirectoriesAreCounted() throws IOException {
    Path image =
        write(
            OPTIONS,
            writer -> {
              for (int i = 0; i < 65_100; i++) {
                writer.createDirectory(writer.root(), name("d" + i), PLAIN);
              }
            });

    MountedImage.check(image);
  }

  @Test
  void blocksOfRemovedFilesAreReused() throws IOException {
    byte[] content = new byte[1 << 20];
    new Random(4).nextBytes(content);
    Path image =
        write(
            OPTIONS,
            writer -> {
              for (int i = 0; i < 50; i++) {
                Directory directory = writer.createDirectory(writer.root(), name("d"), PLAIN);
                RegularFile file =
                    writer.createFile(
                        directory,
                        name("f"),
                        PLAIN,
                        content.length,
                        new ByteArrayInputStream(content));
                writer.link(directory, name("g"), file);
                assertTrue(i == 49 || writer.remove(writer.root(), name("d")));
              }
            });

    MountedImage.check(image);
    assertTrue(allocated(image) < 2 << 20, "bytes: " + allocated(image));
    try (MountedImage mounted = MountedImage.mount(image, "ro")) {
      assertArrayEquals(content, Files.readAllBytes(mounted.root().resolve("d/g")));
    }
  }

  @Test
  void aRemovedHardLinkLeavesTheOthers() throws IOException {
    TreeListing tree =
        list(
            writer -> {
              Directory root = writer.root();
              RegularFile file = writer.createFile(root, name("a"), PLAIN, 3, bytes("abc"));
              writer.link(root, name("b"), file);
              assertTrue(writer.remove(root, name("a")));
              assertFalse(writer.remove(root, name("a")));
              file(writer, root, "c", "xyz");
            });

    assertEquals(3, tree.paths().size());
    assertEquals(
        "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319",
        tree.get("b").blake2b());
  }

  @Test
  void contentThatEndsEarlyIsReportedAndLeavesNoTrace() throws IOException {
    TreeListing tree =
        list(
            writer -> {
              assertThrows(
                  EOFException.class,
                  () -> writer.createFile(writer.root(), name("f"), PLAIN, 10_000, bytes("short")));
              file(writer, writer.root(), "f", "whole");
            });

    assertEquals(5, tree.get("f").size());
  }

  @Test
  void theSameTreeGivesTheSameBytes() throws IOException {
    Content content =
        writer -> {
          for (int i = 0; i < 500; i++) {
            Directory directory = writer.createDirectory(writer.root(), name("d" + i), PLAIN);
            writer.createFile(directory, name("f"), PLAIN, 5000, random(i, 5000));
            if (i % 3 == 0) {
              writer.remove(writer.root(), name("d" + i / 2));
            }
          }
        };
    Path first = temp.resolve("first");
    Files.move(write(OPTIONS, content), first);

    assertEquals(-1, Files.mismatch(first, write(OPTIONS, content)));
  }

  @Test
  void filesystemsOfManyGroupsHaveCopiesOfTheSuperblock() throws IOException {
    // A hole of the host's file system: 2 GiB of content that is never written.
    Path image =
        write(
            new Ext4Options(OPTIONS.uuid(), "scratch", 10L << 30, 200_000, false, false),
            writer -> file(writer, writer.root(), "f", "x"));

    MountedImage.check(image);
    assertEquals(10L << 30, Files.size(image));
    assertTrue(allocated(image) < 2 << 20, "bytes: " + allocated(image));
    for (int group : new int[] {1, 3, 5, 7, 9, 25, 27, 49}) {
      Tool.run(
          temp,
          "e2fsck",
          "-fn",
          "-b",
          Integer.toString(group * 32768),
          "-B",
          "4096",
          image.toString());
    }
    String dump = Tool.run(temp, "dumpe2fs", "-h", image.toString());
    assertTrue(dump.contains("Filesystem volume name:   scratch"), dump);
    assertTrue(dump.contains("Filesystem UUID:          " + OPTIONS.uuid()), dump);
  }

  @Test
  void contentContinuesBehindTheCopiesOfTheSuperblock() throws IOException {
    int size = 140 << 20;
    Path image =
        write(
            OPTIONS,
            writer -> {
              writer.createFile(writer.root(), name("a"), PLAIN, size, new RepeatingStream());
              file(writer, writer.root(), "b", "x");
            });

    MountedImage.check(image);
    try (MountedImage mounted = MountedImage.mount(image, "ro");
        InputStream actual = Files.newInputStream(mounted.root().resolve("a"));
        InputStream expected = new RepeatingStream()) {
      for (int left = size; left > 0; left -= 1 << 20) {
        assertArrayEquals(expected.readNBytes(1 << 20), actual.readNBytes(1 << 20));
      }
    }
  }

  @Test
  void theKernelCanWriteToIt() throws IOException {
    Path image =
        write(
            new Ext4Options(OPTIONS.uuid(), "", 64 << 20, 10_000, false, false),
            writer -> {
              for (int i = 0; i < 2000; i++) {
                file(writer, writer.root(), "a-longer-name-for-the-index-" + i, "content " + i);
              }
            });

    try (MountedImage mounted = MountedImage.mount(image, "rw")) {
      Tool.script(
          mounted.root(),
          "for i in {2000..3999}; do echo $i > a-longer-name-for-the-index-$i; done;"
              + " rm a-longer-name-for-the-index-?9?; mkdir -p d/e; dd if=/dev/zero of=d/z bs=1M count=20;"
              + " setfattr -n user.x -v y d/z; ln d/z d/y");
    }
    MountedImage.check(image);
  }

  @Test
  void whatCannotBeIsRefused() throws IOException {
    write(
        OPTIONS,
        writer -> {
          Directory root = writer.root();
          Directory directory = writer.createDirectory(root, name("d"), PLAIN);
          assertThrows(
              IllegalArgumentException.class, () -> writer.createDirectory(root, name("d"), PLAIN));
          assertThrows(
              IllegalArgumentException.class, () -> writer.link(root, name("e"), directory));
          assertThrows(
              IllegalArgumentException.class,
              () -> writer.createSymbolicLink(root, name("l"), PLAIN, new byte[0]));
          assertThrows(
              IllegalArgumentException.class,
              () -> writer.createSymbolicLink(root, name("l"), PLAIN, new byte[1]));
          byte[] long4096 = "x".repeat(4096).getBytes(UTF_8);
          assertThrows(
              IllegalArgumentException.class,
              () -> writer.createSymbolicLink(root, name("l"), PLAIN, long4096));
          assertThrows(
              IllegalArgumentException.class,
              () ->
                  writer.createSpecialFile(
                      root, name("c"), PLAIN, SpecialFile.Type.CHARACTER_DEVICE, 4096, 0));
          assertThrows(
              Ext4LimitException.class,
              () ->
                  writer.createSparseFile(
                      root, name("f"), PLAIN, Long.MAX_VALUE, List.of(), bytes("")));
          List<DataRange> overlap = List.of(new DataRange(0, 5), new DataRange(4, 1));
          assertThrows(
              IllegalArgumentException.class,
              () -> writer.createSparseFile(root, name("f"), PLAIN, 5, overlap, bytes("123456")));
          writer.remove(root, name("d"));
          assertThrows(
              IllegalArgumentException.class,
              () -> writer.createDirectory(directory, name("x"), PLAIN));
        });
  }
}
