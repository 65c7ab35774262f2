// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;

/** Adds, links and removes in an order that is as random as its source. */
final class RandomTree {
  private final Ext4Writer writer;
  private final Random random;
  private final List<Directory> directories = new ArrayList<>();

  private RandomTree(Ext4Writer writer, Random random) {
    this.writer = writer;
    this.random = random;
    directories.add(writer.root());
  }

  /** Goes on from another image. */
  static void extend(Path base, Path image, Random random) throws IOException {
    try (Ext4Writer writer = Ext4Writer.extend(base, image, options(random))) {
      new RandomTree(writer, random).grow();
      writer.finish();
    }
  }

  /** Goes on from what another image once held. */
  static void extend(Path base, Checkpoint checkpoint, Path image, Random random)
      throws IOException {
    try (Ext4Writer writer = Ext4Writer.extend(base, checkpoint, image, options(random))) {
      new RandomTree(writer, random).grow();
      writer.finish();
    }
  }

  /** Writes an image, complete. */
  static void write(Path image, Random random) throws IOException {
    try (Ext4Writer writer = Ext4Writer.create(image, options(random))) {
      new RandomTree(writer, random).grow();
      writer.finish();
    }
  }

  /** Writes an image that changes after each of its checkpoints, which are returned. */
  static List<Checkpoint> writeWithCheckpoints(Path image, Random random, int count)
      throws IOException {
    List<Checkpoint> checkpoints = new ArrayList<>();
    try (Ext4Writer writer = Ext4Writer.create(image, options(random))) {
      RandomTree tree = new RandomTree(writer, random);
      tree.grow();
      for (int i = 0; i < count; i++) {
        checkpoints.add(writer.checkpoint());
        tree.grow();
      }
      writer.finish();
    }
    return checkpoints;
  }

  /** Writes the same image as it was after having changed that many times. */
  static void write(Path image, Random random, int changes) throws IOException {
    try (Ext4Writer writer = Ext4Writer.create(image, options(random))) {
      RandomTree tree = new RandomTree(writer, random);
      for (int i = 0; i <= changes; i++) {
        tree.grow();
      }
      writer.finish();
    }
  }

  private static Ext4Options options(Random random) {
    long bytes = random.nextInt(4) == 0 ? random.nextLong(1L << 32) : 0;
    long inodes = random.nextInt(4) == 0 ? random.nextLong(200_000) : 0;
    return new Ext4Options(new UUID(random.nextLong(), 1), "", bytes, inodes, false, false);
  }

  private void grow() throws IOException {
    int steps = 1 << random.nextInt(12);
    for (int i = 0; i < steps; i++) {
      Directory parent = directories.get(random.nextInt(directories.size()));
      if (parent.links == 0) {
        continue;
      }
      FileName name = name();
      if (random.nextInt(4) == 0 && !parent.names().isEmpty()) {
        writer.remove(parent, parent.names().iterator().next());
      } else if (parent.get(name) == null) {
        add(parent, name);
      }
    }
  }

  private FileName name() {
    byte[] name = new byte[1 + random.nextInt(random.nextBoolean() ? 8 : 255)];
    for (int i = 0; i < name.length; i++) {
      name[i] = (byte) (128 + random.nextInt(128));
    }
    return FileName.of(name);
  }

  private void add(Directory parent, FileName name) throws IOException {
    switch (random.nextInt(8)) {
      case 0, 1 -> directories.add(writer.createDirectory(parent, name, attributes()));
      case 2 -> {
        byte[] target = new byte[1 + random.nextInt(200)];
        Arrays.fill(target, (byte) 'x');
        writer.createSymbolicLink(parent, name, attributes(), target);
      }
      case 3 ->
          writer.createSpecialFile(
              parent,
              name,
              attributes(),
              SpecialFile.Type.BLOCK_DEVICE,
              random.nextInt(4096),
              random.nextInt(1 << 20));
      case 4 -> {
        Inode other =
            parent.names().isEmpty() ? null : parent.get(parent.names().iterator().next());
        if (other != null && !(other instanceof Directory)) {
          writer.link(parent, name, other);
        }
      }
      case 5 -> sparse(parent, name);
      default -> {
        byte[] content = new byte[random.nextInt(random.nextInt(10) == 0 ? 1 << 20 : 10_000)];
        random.nextBytes(content);
        writer.createFile(
            parent, name, attributes(), content.length, new ByteArrayInputStream(content));
      }
    }
  }

  private void sparse(Directory parent, FileName name) throws IOException {
    List<DataRange> data = new ArrayList<>();
    long end = 0;
    int total = 0;
    int ranges = random.nextInt(random.nextInt(8) == 0 ? 2000 : 10);
    for (int i = 0; i < ranges; i++) {
      int length = random.nextInt(9000);
      long offset = end + random.nextInt(20_000);
      data.add(new DataRange(offset, length));
      end = offset + length;
      total += length;
    }
    long size = end + random.nextInt(100_000);
    byte[] content = new byte[total];
    writer.createSparseFile(
        parent, name, attributes(), size, data, new ByteArrayInputStream(content));
  }

  private InodeAttributes attributes() {
    Map<String, byte[]> xattrs = new HashMap<>();
    for (int i = random.nextInt(8) - 4; i > 0; i--) {
      byte[] value = new byte[random.nextInt(random.nextBoolean() ? 20 : 700)];
      random.nextBytes(value);
      // Linux shows user.* of files and directories only.
      xattrs.put(
          (random.nextBoolean() ? "security." : "trusted.") + random.nextInt(100_000), value);
    }
    return new InodeAttributes(
        random.nextInt(010000),
        random.nextLong(1L << 32),
        random.nextLong(1L << 32),
        Instant.ofEpochSecond(random.nextInt() * 2L, random.nextInt(1_000_000_000)),
        ExtendedAttributes.of(xattrs));
  }
}
