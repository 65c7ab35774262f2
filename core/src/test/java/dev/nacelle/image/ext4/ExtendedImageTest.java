// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.TreeListing;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.UUID;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** An image that begins with what another one holds. */
class ExtendedImageTest {
  private static final Ext4Options OPTIONS = Ext4Options.of(new UUID(1, 2));
  private static final InodeAttributes PLAIN = new InodeAttributes(0644, 0, 0, Instant.EPOCH);

  @TempDir Path temp;

  private static TreeListing list(Path image) throws IOException {
    MountedImage.check(image);
    try (MountedImage mounted = MountedImage.mount(image, "ro")) {
      return TreeListing.of(mounted.root());
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 5, 8, 13, 21, 34})
  void holdsTheSameTreeAndCanBeChanged(int seed) throws IOException {
    Path base = temp.resolve("base");
    RandomTree.write(base, new Random(seed));
    Path copy = temp.resolve("copy");
    try (Ext4Writer writer = Ext4Writer.extend(base, copy, OPTIONS)) {
      writer.finish();
    }
    assertEquals("", list(base).differences(list(copy)));

    Path changed = temp.resolve("changed");
    RandomTree.extend(copy, changed, new Random(seed));
    MountedImage.check(changed);
    RandomTree.extend(changed, copy, new Random(seed + 1));
    MountedImage.check(copy);
  }

  @Test
  void keepsIndexedDirectoriesFragmentsAndHoles() throws IOException {
    Path base = temp.resolve("base");
    try (Ext4Writer writer = Ext4Writer.create(base, OPTIONS)) {
      Directory many = writer.createDirectory(writer.root(), FileName.of("many"), PLAIN);
      for (int i = 0; i < 5_000; i++) {
        writer.createSpecialFile(
            many, FileName.of("entry-" + i), PLAIN, SpecialFile.Type.FIFO, 0, 0);
      }
      for (int i = 0; i < 3000; i++) {
        byte[] block = new byte[4096];
        new Random(i).nextBytes(block);
        writer.createFile(
            writer.root(), FileName.of("f" + i), PLAIN, 4096, new ByteArrayInputStream(block));
      }
      for (int i = 0; i < 3000; i += 2) {
        writer.remove(writer.root(), FileName.of("f" + i));
      }
      byte[] fragments = new byte[4096 * 1500];
      new Random(7).nextBytes(fragments);
      writer.createFile(
          writer.root(),
          FileName.of("fragments"),
          PLAIN,
          fragments.length,
          new ByteArrayInputStream(fragments));
      writer.createSparseFile(
          writer.root(),
          FileName.of("sparse"),
          PLAIN,
          6L << 30,
          List.of(new DataRange(5L << 30, 4)),
          new ByteArrayInputStream(new byte[] {1, 2, 3, 4}));
      writer.finish();
    }
    Path copy = temp.resolve("copy");
    try (Ext4Writer writer = Ext4Writer.extend(base, copy, OPTIONS)) {
      writer.remove(writer.root(), FileName.of("sparse"));
      writer.finish();
    }
    Path again = temp.resolve("again");
    try (Ext4Writer writer = Ext4Writer.create(again, OPTIONS)) {
      writer.finish();
    }
    try (Ext4Writer writer = Ext4Writer.extend(base, again, OPTIONS)) {
      assertEquals(6L << 30, writer.root().get(FileName.of("sparse")).size());
      writer.remove(writer.root(), FileName.of("sparse"));
      writer.finish();
    }

    TreeListing tree = list(copy);
    assertEquals(5_000 + 1500 + 3, tree.paths().size());
    assertEquals("", tree.differences(list(again)));
    assertEquals(-1, Files.mismatch(copy, again));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8})
  void startsFromWhatAnImageOnceHeld(int seed) throws IOException {
    Path base = temp.resolve("base");
    List<Checkpoint> checkpoints = RandomTree.writeWithCheckpoints(base, new Random(seed), 3);
    Path expected = temp.resolve("expected");
    Path copy = temp.resolve("copy");
    for (int i = 0; i < checkpoints.size(); i++) {
      try (Ext4Writer writer = Ext4Writer.extend(base, checkpoints.get(i), copy, OPTIONS)) {
        writer.finish();
      }
      RandomTree.write(expected, new Random(seed), i);
      assertEquals("", list(expected).differences(list(copy)), "checkpoint " + i);
    }
    RandomTree.write(expected, new Random(seed), checkpoints.size());
    assertEquals("", list(expected).differences(list(base)), "the image itself");
  }

  @Test
  void aDirectoryCanLoseItsIndexAndItsExtentsAfterACheckpoint() throws IOException {
    Path base = temp.resolve("base");
    Checkpoint checkpoint;
    try (Ext4Writer writer = Ext4Writer.create(base, OPTIONS)) {
      Directory many = writer.createDirectory(writer.root(), FileName.of("many"), PLAIN);
      for (int i = 0; i < 5_000; i++) {
        writer.createSpecialFile(many, FileName.of("e" + i), PLAIN, SpecialFile.Type.FIFO, 0, 0);
      }
      checkpoint = writer.checkpoint();
      for (int i = 1; i < 5_000; i++) {
        writer.remove(many, FileName.of("e" + i));
      }
      writer.finish();
    }
    assertEquals(Set.of("", "many", "many/e0"), list(base).paths());
    Path copy = temp.resolve("copy");
    try (Ext4Writer writer = Ext4Writer.extend(base, checkpoint, copy, OPTIONS)) {
      writer.finish();
    }
    assertEquals(5_002, list(copy).paths().size());
  }

  @Test
  void aCheckpointThatIsNotThereIsRefused() throws IOException {
    Path base = temp.resolve("base");
    RandomTree.write(base, new Random(1));
    long blocks = Files.size(base) / 4096;
    for (Checkpoint checkpoint :
        List.of(
            new Checkpoint(blocks, 100),
            new Checkpoint(blocks - 1, Integer.MAX_VALUE),
            new Checkpoint(0, 100),
            new Checkpoint(0xFFFF_0000L, 10))) {
      assertThrows(
          Ext4ImageException.class,
          () -> Ext4Writer.extend(base, checkpoint, temp.resolve("copy"), OPTIONS).close());
    }
    assertThrows(IllegalArgumentException.class, () -> new Checkpoint(-1, 100));
    assertThrows(IllegalArgumentException.class, () -> new Checkpoint(1L << 32, 100));
    assertThrows(IllegalArgumentException.class, () -> new Checkpoint(1, 9));
  }

  @Test
  void whatIsNoImageOfTheWritersIsRefused() throws IOException {
    Path image = temp.resolve("image");
    Path other = temp.resolve("other");
    for (byte[] content : new byte[][] {{}, new byte[3000], new byte[1 << 20]}) {
      Files.write(image, content);
      assertThrows(
          Ext4ImageException.class, () -> Ext4Writer.extend(image, other, OPTIONS).close());
    }
  }

  @Test
  void aDamagedImageIsAnErrorOrATree() throws IOException {
    Path base = temp.resolve("base");
    try (Ext4Writer writer = Ext4Writer.create(base, OPTIONS)) {
      for (int i = 0; i < 20; i++) {
        ExtendedAttributes extended =
            ExtendedAttributes.of(Map.of("user.x", new byte[i], "user.y", new byte[100 * i]));
        Directory directory =
            writer.createDirectory(
                writer.root(),
                FileName.of("d" + i),
                new InodeAttributes(0755, i, i, Instant.EPOCH, extended));
        writer.createSymbolicLink(directory, FileName.of("l"), PLAIN, new byte[] {'x', 'y'});
        writer.createSparseFile(
            directory, FileName.of("f"), PLAIN, 1L << 40, ranges(i), new ZeroStream());
      }
      writer.finish();
    }
    byte[] good = Files.readAllBytes(base);
    int[] used = IntStream.range(0, good.length).filter(i -> good[i] != 0).toArray();
    Random random = new Random(1);
    int refused = 0;
    try (FileChannel file = FileChannel.open(base, StandardOpenOption.WRITE)) {
      for (int round = 0; round < 500; round++) {
        int at = used[random.nextInt(used.length)];
        file.write(ByteBuffer.wrap(new byte[] {(byte) random.nextInt()}), at);
        try {
          Ext4Writer.extend(base, temp.resolve("copy"), OPTIONS).close();
        } catch (Ext4ImageException damaged) {
          refused++;
        }
        file.write(ByteBuffer.wrap(good, at, 1), at);
      }
    }
    assertTrue(refused > 30, "only " + refused);
  }

  /** Numbers that only damage can make so large, or negative. */
  @Test
  void sizesThatCannotBeAreErrors() throws IOException {
    Path base = temp.resolve("base");
    try (Ext4Writer writer = Ext4Writer.create(base, OPTIONS)) {
      InodeAttributes labelled =
          new InodeAttributes(
              0755, 0, 0, Instant.EPOCH, ExtendedAttributes.of(Map.of("user.x", new byte[40])));
      writer.setAttributes(writer.root(), labelled);
      writer.createSymbolicLink(writer.root(), FileName.of("l"), PLAIN, new byte[] {'x'});
      writer.finish();
    }
    ByteBuffer image = ByteBuffer.wrap(Files.readAllBytes(base)).order(ByteOrder.LITTLE_ENDIAN);
    int table = image.getInt(4096 + 8) * 4096;
    int rootAttribute = table + 256 + 128 + 32 + 4;
    assertEquals(40, image.getInt(rootAttribute + 8));
    assertDamaged(image, rootAttribute + 8, -1);
    assertDamaged(image, rootAttribute + 8, Integer.MIN_VALUE);
    int linkSize = table + 10 * 256 + 4;
    assertEquals(1, image.getInt(linkSize));
    for (int size : new int[] {0, 4096, -1}) {
      assertDamaged(image, linkSize, size);
    }
    // Blocks, and free inodes, of the superblock.
    assertDamaged(image, 1024 + 0x4, Integer.MAX_VALUE);
    assertDamaged(image, 1024 + 0x10, Integer.MIN_VALUE);
    assertDamaged(image, 1024, -1);
  }

  private void assertDamaged(ByteBuffer image, int at, int value) throws IOException {
    int good = image.getInt(at);
    Path damaged = Files.write(temp.resolve("damaged"), image.putInt(at, value).array());
    image.putInt(at, good);
    assertThrows(
        Ext4ImageException.class,
        () -> Ext4Writer.extend(damaged, temp.resolve("copy"), OPTIONS).close());
  }

  private static List<DataRange> ranges(int count) {
    return IntStream.range(0, count).mapToObj(i -> new DataRange(i << 20, 1)).toList();
  }

  private static final class ZeroStream extends InputStream {
    @Override
    public int read() {
      return 0;
    }
  }
}
