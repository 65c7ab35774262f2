// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.layer;

import dev.nacelle.DataSize;
import dev.nacelle.ImageException;
import dev.nacelle.image.ext4.DataRange;
import dev.nacelle.image.ext4.FileName;
import dev.nacelle.image.tar.TarEntry;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Some files of an image's root directory, copied out of its layers: a later entry replaces an
 * earlier one, and a whiteout takes away what lower layers have ("Whiteouts" of layer.md in the OCI
 * image specification).
 */
public final class RootFiles implements LayerReader.Sink {
  private static final String WHITEOUT = ".wh.";
  private static final String OPAQUE = ".wh..wh..opq";
  private static final int COPY = 1 << 16;

  private final Map<String, Path> files;
  private final DataSize maxSize;
  private final int maxEntries;

  /** What is there of the wanted names, after the layers so far. */
  private final Map<String, TarEntry.Type> found = new HashMap<>();

  /** What of that the current layer put there: its own whiteouts leave it alone. */
  private final Set<String> upper = new HashSet<>();

  private long entries;

  /**
   * @param files where each goes, by name
   * @param maxSize of each
   * @param maxEntries in all layers
   */
  public RootFiles(Map<String, Path> files, DataSize maxSize, int maxEntries) {
    this.files = files;
    this.maxSize = maxSize;
    this.maxEntries = maxEntries;
  }

  @Override
  public void apply(TarEntry entry, InputStream content) throws IOException {
    if (++entries > maxEntries) {
      throw new ImageException(
          ImageException.Reason.TOO_LARGE,
          "The image has more entries than the limit of " + maxEntries,
          null,
          null);
    }
    List<FileName> path = TreePaths.split(entry.path());
    if (path.size() != 1) {
      return;
    }
    String name = new String(path.get(0).toBytes(), StandardCharsets.ISO_8859_1);
    if (name.equals(OPAQUE)) {
      found.keySet().retainAll(upper);
    } else if (name.startsWith(WHITEOUT)) {
      String target = name.substring(WHITEOUT.length());
      if (!upper.contains(target)) {
        found.remove(target);
      }
    } else if (files.containsKey(name)) {
      found.put(name, entry.type());
      upper.add(name);
      if (entry.type() == TarEntry.Type.REGULAR_FILE) {
        copy(entry, content, files.get(name));
      }
    }
  }

  private void copy(TarEntry entry, InputStream content, Path file) throws IOException {
    if (entry.size() > maxSize.bytes()) {
      throw new IllegalArgumentException(
          "it has " + entry.size() + " bytes, more than the limit of " + maxSize);
    }
    try (FileChannel out =
        FileChannel.open(
            file,
            StandardOpenOption.CREATE,
            StandardOpenOption.WRITE,
            StandardOpenOption.TRUNCATE_EXISTING)) {
      byte[] buffer = new byte[COPY];
      for (DataRange range : entry.data()) {
        out.position(range.offset());
        for (long left = range.length(); left > 0; ) {
          int read = content.read(buffer, 0, (int) Math.min(buffer.length, left));
          if (read < 0) {
            throw new EOFException();
          }
          left -= read;
          for (ByteBuffer chunk = ByteBuffer.wrap(buffer, 0, read); chunk.hasRemaining(); ) {
            out.write(chunk);
          }
        }
      }
      if (out.size() < entry.size()) {
        // Its end is a hole: a file grows by a byte being written.
        out.write(ByteBuffer.allocate(1), entry.size() - 1);
      }
    }
  }

  @Override
  public void endLayer() {
    upper.clear();
  }

  /**
   * All layers were read.
   *
   * @param image what to call it in errors
   * @return the names that are there
   */
  public Set<String> finish(String image) throws IOException {
    for (Map.Entry<String, Path> file : files.entrySet()) {
      TarEntry.Type type = found.get(file.getKey());
      if (type == null) {
        Files.deleteIfExists(file.getValue());
      } else if (type != TarEntry.Type.REGULAR_FILE) {
        throw new ImageException(
            ImageException.Reason.UNSUPPORTED,
            "/" + file.getKey() + " of " + image + " is no regular file, but of the type " + type,
            "Copy the file itself into the image.",
            null);
      }
    }
    return Set.copyOf(found.keySet());
  }
}
