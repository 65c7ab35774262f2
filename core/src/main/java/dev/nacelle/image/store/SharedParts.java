// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import dev.nacelle.image.Digest;
import dev.nacelle.image.ext4.Checkpoint;
import dev.nacelle.image.ext4.Ext4Writer;
import dev.nacelle.image.oci.Digests;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Which filesystems hold which first layers besides all of theirs, and where. That stands in the
 * filesystem itself, in front of its superblock: so it is always about this very file, comes with
 * it and goes with it.
 */
final class SharedParts {
  /** How many one filesystem can list. */
  static final int MAX = 25;

  private static final long MAGIC = 0x6e6163656c6c6531L;
  private static final int CHAIN = 32;

  private final Map<Digest, Path> filesystems = new HashMap<>();

  private SharedParts() {}

  /** Looks through the filesystems of a directory, which may come and go meanwhile. */
  static SharedParts in(Path directory) throws IOException {
    SharedParts parts = new SharedParts();
    List<Path> files;
    try (Stream<Path> list = Files.list(directory)) {
      files = list.filter(file -> ImageStore.isFilesystem(file.getFileName().toString())).toList();
    }
    for (Path file : files) {
      try {
        read(file).keySet().forEach(chain -> parts.filesystems.putIfAbsent(chain, file));
      } catch (IOException e) {
        // Removed meanwhile, or not for this user: then nothing starts from it.
      }
    }
    return parts;
  }

  /** The name of a filesystem that had those layers when it was looked at. */
  @Nullable String find(Digest chainId) {
    Path file = filesystems.get(key(chainId));
    return file == null ? null : file.getFileName().toString();
  }

  /** Where a filesystem holds those layers; null where it does not. */
  static @Nullable Checkpoint find(Path filesystem, Digest chainId) throws IOException {
    return read(filesystem).get(key(chainId));
  }

  /** All chains take the same room, whatever digest the first layer has. */
  private static Digest key(Digest chainId) {
    return Digests.sha256(chainId.toString());
  }

  /** For {@link Ext4Writer#setBootArea}: at most {@link #MAX}, by chain ID. */
  static byte[] encode(Map<Digest, Checkpoint> parts) {
    ByteBuffer out = ByteBuffer.allocate(Ext4Writer.BOOT_AREA);
    out.putLong(MAGIC).putLong(parts.size());
    parts.forEach(
        (chainId, checkpoint) ->
            out.put(Digests.value(key(chainId)))
                .putInt((int) checkpoint.tableBlock())
                .putInt(checkpoint.inodes()));
    return out.array();
  }

  private static Map<Digest, Checkpoint> read(Path filesystem) throws IOException {
    ByteBuffer in = ByteBuffer.allocate(Ext4Writer.BOOT_AREA);
    try (FileChannel channel = FileChannel.open(filesystem)) {
      while (in.hasRemaining() && channel.read(in) >= 0) {
        // Until it is full.
      }
    }
    Map<Digest, Checkpoint> parts = new HashMap<>();
    in.rewind();
    if (in.getLong() != MAGIC) {
      return parts;
    }
    long count = in.getLong();
    for (int i = 0; i < Math.min(count, MAX); i++) {
      byte[] chain = new byte[CHAIN];
      in.get(chain);
      long table = Integer.toUnsignedLong(in.getInt());
      int inodes = in.getInt();
      try {
        parts.put(Digests.ofValue(Digest.Algorithm.SHA256, chain), new Checkpoint(table, inodes));
      } catch (IllegalArgumentException damaged) {
        return Map.of();
      }
    }
    return parts;
  }
}
