// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.origin;

import com.google.common.base.Splitter;
import com.google.common.io.ByteStreams;
import dev.nacelle.ImageException;
import dev.nacelle.image.ext4.DataRange;
import dev.nacelle.image.layer.Decompression;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.tar.TarEntry;
import dev.nacelle.image.tar.TarException;
import dev.nacelle.image.tar.TarReader;
import dev.nacelle.internal.BlockInputStream;
import dev.nacelle.internal.RegularFile;
import java.io.IOException;
import java.io.InputStream;
import java.nio.channels.Channels;
import java.nio.channels.SeekableByteChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A tar archive whose files are read where they lie: only its headers are read to find them, so
 * opening a large one is quick, and nothing is unpacked.
 */
final class ArchiveFile implements ImageFiles {
  /** An image has a few files for each of its layers; many images can share an archive. */
  private static final int MAX_ENTRIES = 100_000;

  /** In "docker save", a layer that is the same as another is a link to it, never to a link. */
  private static final int MAX_LINKS = 2;

  private final Path file;
  private final Map<String, Member> members = new HashMap<>();

  /** A file at a position, or a link to another. */
  private record Member(long offset, long size, @Nullable String target) {}

  private ArchiveFile(Path file) {
    this.file = file;
  }

  /**
   * Finds the files of an archive.
   *
   * @param remedy what to write instead of a file that is no archive
   * @throws ImageException when it is none
   */
  static ArchiveFile open(Path file, ImageLimits limits, String remedy) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new ImageException(
          ImageException.Reason.NOT_FOUND,
          (Files.exists(file) ? "No file: " : "No such file: ") + file.toAbsolutePath(),
          remedy,
          null);
    }
    ArchiveFile archive = new ArchiveFile(file);
    try (SeekableByteChannel channel = Files.newByteChannel(file)) {
      requirePlain(file, channel);
      archive.scan(channel, (int) limits.headerSize().bytes(), remedy);
    } catch (TarException e) {
      throw new ImageException(
          ImageException.Reason.DAMAGED, file + " is no tar archive: " + e.getMessage(), remedy, e);
    }
    return archive;
  }

  private static void requirePlain(Path file, SeekableByteChannel channel) throws IOException {
    byte[] start = Channels.newInputStream(channel).readNBytes(Decompression.MAGIC_LENGTH);
    Optional<String> format = Decompression.format(start);
    if (format.isPresent()) {
      throw new ImageException(
          ImageException.Reason.UNSUPPORTED,
          file + " is compressed with " + format.get(),
          "Unpack it first, as with '"
              + format.get()
              + " -d': it is read in no order, so it cannot be compressed.",
          null);
    }
    channel.position(0);
  }

  private void scan(SeekableByteChannel channel, int maxHeaderBytes, String remedy)
      throws IOException {
    HeaderStream in = new HeaderStream(channel);
    TarReader tar = new TarReader(in, maxHeaderBytes);
    for (TarEntry entry; (entry = tar.next()) != null; ) {
      String name = normalize(new String(entry.path(), StandardCharsets.UTF_8));
      switch (entry.type()) {
        case REGULAR_FILE -> {
          if (!entry.data().equals(List.of(new DataRange(0, entry.size())))) {
            throw new ImageException(
                ImageException.Reason.UNSUPPORTED,
                file + " has the sparse file '" + entry + "'",
                remedy,
                null);
          }
          members.put(name, new Member(channel.position(), entry.size(), null));
          if (entry.size() > channel.size() - channel.position()) {
            throw new ImageException(
                ImageException.Reason.DAMAGED,
                file + " is truncated",
                "Get the archive again.",
                null);
          }
          in.passOver(entry.size());
        }
        case HARD_LINK -> members.put(name, new Member(0, 0, normalize(target(entry))));
        case SYMBOLIC_LINK ->
            members.put(name, new Member(0, 0, normalize(parent(name) + target(entry))));
        default -> {}
      }
      if (members.size() > MAX_ENTRIES) {
        throw new ImageException(
            ImageException.Reason.TOO_LARGE,
            file + " has more than " + MAX_ENTRIES + " files",
            remedy,
            null);
      }
    }
  }

  private static String target(TarEntry entry) {
    return new String(entry.linkTarget(), StandardCharsets.UTF_8);
  }

  private static String parent(String name) {
    return name.substring(0, name.lastIndexOf('/') + 1);
  }

  /**
   * These are keys of a map, never paths of the host, whose file names may have fewer characters.
   */
  private static String normalize(String name) {
    Deque<String> parts = new ArrayDeque<>();
    for (String part : Splitter.on('/').split(name)) {
      if (part.equals("..")) {
        parts.pollLast();
      } else if (!part.isEmpty() && !part.equals(".")) {
        parts.addLast(part);
      }
    }
    return String.join("/", parts);
  }

  /** Lets the tar reader have zeros for contents that nobody looks at. */
  private static final class HeaderStream extends BlockInputStream {
    private final SeekableByteChannel channel;
    private final InputStream in;
    private long unread;

    HeaderStream(SeekableByteChannel channel) {
      this.channel = channel;
      this.in = Channels.newInputStream(channel);
    }

    void passOver(long size) throws IOException {
      channel.position(channel.position() + size);
      unread = size;
    }

    @Override
    public int read(byte[] bytes, int offset, int length) throws IOException {
      if (unread == 0) {
        return in.read(bytes, offset, length);
      }
      int count = (int) Math.min(length, unread);
      unread -= count;
      return count;
    }
  }

  @Override
  public @Nullable InputStream open(String name) throws IOException {
    Member member = find(name);
    if (member == null) {
      return null;
    }
    RegularFile.require(file);
    SeekableByteChannel channel = Files.newByteChannel(file).position(member.offset);
    return ByteStreams.limit(Channels.newInputStream(channel), member.size);
  }

  /** The size of a file in bytes, or -1 where there is none. */
  long size(String name) {
    Member member = find(name);
    return member == null ? -1 : member.size;
  }

  private @Nullable Member find(String name) {
    Member member = members.get(normalize(name));
    for (int links = 0; member != null && member.target != null; links++) {
      member = links == MAX_LINKS ? null : members.get(member.target);
    }
    return member;
  }

  @Override
  public String toString() {
    return file.toString();
  }
}
