// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import dev.nacelle.image.ImageBuilder.Part;
import dev.nacelle.image.ext4.Checkpoint;
import dev.nacelle.internal.FileCache;
import java.io.IOException;
import java.nio.file.Files;
import java.time.Instant;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Which filesystems hold which first layers, and where: a small file for each, named by the layers'
 * chain and the filesystem's. Safe for use from several threads and processes.
 */
final class SharedParts {
  private static final Pattern NAME =
      Pattern.compile("v" + ImageBuilder.FORMAT + "-([0-9a-f]{64})\\.([0-9a-f]{64})");

  private static final Pattern CONTENT = Pattern.compile("([0-9]{1,10}) ([0-9]{1,9})\n");
  private static final int MAX_CONTENT = 32;

  private final FileCache parts;
  private final FileCache filesystems;

  /**
   * A filesystem that holds what is wanted.
   *
   * @param filesystem the finder's to close
   */
  record Found(FileCache.Lease filesystem, Checkpoint checkpoint) {}

  /**
   * @param parts where to keep this
   * @param filesystems which it is about
   */
  SharedParts(FileCache parts, FileCache filesystems) {
    this.parts = parts;
    this.filesystems = filesystems;
  }

  /** The name of a filesystem in its cache. */
  static String filesystem(String chainHex) {
    return "v" + ImageBuilder.FORMAT + "-" + chainHex + ".ext4";
  }

  /** Remembers that a filesystem has a part. */
  void add(Digest chain, Digest whole, Part part) throws IOException {
    parts.get(
        "v" + ImageBuilder.FORMAT + "-" + chain.hex() + "." + whole.hex(),
        file ->
            Files.writeString(
                file, part.checkpoint().tableBlock() + " " + part.checkpoint().inodes() + "\n"));
  }

  /** Some filesystem with that part. */
  Optional<Found> find(Digest chain) throws IOException {
    for (FileCache.Entry entry : parts.entries()) {
      Matcher name = NAME.matcher(entry.key());
      if (name.matches() && name.group(1).equals(chain.hex())) {
        Optional<Found> found = open(entry.key(), name.group(2));
        if (found.isPresent()) {
          return found;
        }
      }
    }
    return Optional.empty();
  }

  private Optional<Found> open(String key, String whole) throws IOException {
    Optional<FileCache.Lease> filesystem = filesystems.find(filesystem(whole));
    if (filesystem.isEmpty()) {
      return Optional.empty();
    }
    try (FileCache.Lease part = parts.find(key).orElse(null)) {
      if (part != null && Files.size(part.file()) <= MAX_CONTENT) {
        Matcher content = CONTENT.matcher(Files.readString(part.file()));
        if (content.matches()) {
          Checkpoint checkpoint =
              new Checkpoint(Long.parseLong(content.group(1)), Integer.parseInt(content.group(2)));
          return Optional.of(new Found(filesystem.get(), checkpoint));
        }
      }
    } catch (IllegalArgumentException damaged) {
      // As if it were not there.
    } catch (IOException | RuntimeException e) {
      filesystem.get().close();
      throw e;
    }
    filesystem.get().close();
    return Optional.empty();
  }

  /** Forgets the parts of filesystems that are gone. */
  void prune() throws IOException {
    parts.removeLeftovers(Instant.MAX);
    for (FileCache.Entry entry : parts.entries()) {
      Matcher name = NAME.matcher(entry.key());
      if (!name.matches() || !filesystems.contains(filesystem(name.group(2)))) {
        parts.remove(entry);
      }
    }
  }
}
