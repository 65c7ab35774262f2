// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import dev.nacelle.DataDisk;
import dev.nacelle.ImageException;
import dev.nacelle.ImageException.Reason;
import dev.nacelle.image.ext4.Directory;
import dev.nacelle.image.ext4.Ext4LimitException;
import dev.nacelle.image.ext4.Ext4Writer;
import dev.nacelle.image.ext4.ExtendedAttributes;
import dev.nacelle.image.ext4.FileName;
import dev.nacelle.image.ext4.Inode;
import dev.nacelle.image.ext4.InodeAttributes;
import dev.nacelle.internal.Shortage;
import java.io.EOFException;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.nio.file.attribute.UserDefinedFileAttributeView;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A directory of the host, to be copied into a filesystem image. It is gone through twice: for what
 * it takes, and then for what is in it; whoever changes it meanwhile makes the copy fail, or
 * decides what is in it.
 *
 * <p>Links are copied and never followed, files with several names stay one, holes and other blocks
 * of zeros are holes. Sockets, FIFOs and devices are the host's own and are left out. On a host
 * without owners and permissions all is root's, with 0644 and 0755.
 */
public final class DirectoryDisk {
  /** Each takes some 300 bytes of heap while the image is written. */
  private static final int MAX_FILES = DataDisk.MAXIMUM_FILES;

  private static final int BLOCK = 4096;

  /** Bytes of a directory's block that entries are sure to fill, and of an entry without a name. */
  private static final int USED_OF_BLOCK = 2048;

  private static final int ENTRY = 12;

  /** A leaf of an extent tree has 340; where each block is followed by a hole, one for each. */
  private static final int BLOCKS_PER_LEAF = 300;

  /** What stays free in any case: 16 MiB. */
  private static final long SLACK = 4096;

  private final Path root;
  private final @Nullable Owner owner;
  private final boolean unix;
  private final long files;
  private final long bytes;
  private final long blocks;

  /** Whose all files are to be. */
  public record Owner(long uid, long gid) {}

  /** Takes files as they are found, a directory before what is in it. */
  private interface Visitor<D> {
    D directory(@Nullable D parent, Path path, HostFile facts) throws IOException;

    void file(D parent, Path path, HostFile facts) throws IOException;
  }

  private DirectoryDisk(Path root, @Nullable Owner owner) {
    this.root = root;
    this.owner = owner;
    unix = HostFile.hasUnixView(root);
    Sizing sizing = new Sizing();
    walk(sizing);
    files = sizing.files;
    bytes = sizing.bytes;
    blocks = sizing.blocks;
  }

  /**
   * Looks at a directory, and how much is in it.
   *
   * @param owner whose all of it is to be; null for whose it is
   * @throws ImageException when it is none, or cannot be read, or has too many files; names the
   *     path
   * @throws ClosedByInterruptException when the thread is interrupted, as it then still is
   */
  public static DirectoryDisk of(Path directory, @Nullable Owner owner)
      throws ClosedByInterruptException {
    try {
      return new DirectoryDisk(directory.toAbsolutePath(), owner);
    } catch (Interrupted e) {
      throw new ClosedByInterruptException();
    }
  }

  /** How many bytes of content there are. */
  public long bytes() {
    return bytes;
  }

  /** How many files, directories and links. */
  public long files() {
    return files;
  }

  /**
   * The size of a disk that has room for it, in bytes.
   *
   * @param free how much is to stay free besides
   */
  public long diskBytes(long free) {
    long all = blocks + files / (BLOCK / 256) + Math.floorDiv(free + BLOCK - 1, BLOCK);
    // Bitmaps, descriptors and tables of inodes that nobody uses.
    return (all + all / 32 + SLACK) * BLOCK;
  }

  /**
   * Copies it into a filesystem that is empty.
   *
   * @param meter is told how far it is
   * @throws ImageException when something cannot be read, or not be in a filesystem; names the path
   * @throws IOException when the image cannot be written, or the thread is interrupted
   */
  public void write(Ext4Writer writer, Meter meter) throws IOException {
    meter.total(bytes);
    try {
      walk(new Copying(writer, meter));
    } catch (Interrupted e) {
      throw new ClosedByInterruptException();
    } catch (WriteFailed e) {
      throw e.failure;
    }
    meter.done();
  }

  /** An interrupt, on its way out of a walk. */
  private static final class Interrupted extends RuntimeException {
    private static final long serialVersionUID = 1L;

    Interrupted() {
      super(null, null, false, false);
    }
  }

  /** The image cannot be written, on its way out of a walk. */
  private static final class WriteFailed extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final transient IOException failure;

    WriteFailed(IOException failure) {
      super(null, failure, false, false);
      this.failure = failure;
    }
  }

  private static final class Level<D> {
    private final D directory;
    private final List<Path> files;
    private int next;

    Level(D directory, List<Path> files) {
      this.directory = directory;
      this.files = files;
    }
  }

  /** By name, so that the same tree is always the same image. */
  private <D> void walk(Visitor<D> visitor) {
    List<Level<D>> levels = new ArrayList<>();
    int[] count = {0};
    Path at = root;
    try {
      HostFile top = HostFile.of(root, unix, true);
      if (!top.isDirectory()) {
        throw new NotDirectoryException(root.toString());
      }
      levels.add(new Level<>(visitor.directory(null, root, top), list(root, count)));
      while (!levels.isEmpty()) {
        if (Thread.currentThread().isInterrupted()) {
          throw new Interrupted();
        }
        Level<D> level = levels.get(levels.size() - 1);
        if (level.next == level.files.size()) {
          levels.remove(levels.size() - 1);
          continue;
        }
        at = level.files.get(level.next++);
        HostFile facts = HostFile.of(at, unix, false);
        if (facts.isDirectory()) {
          levels.add(new Level<>(visitor.directory(level.directory, at, facts), list(at, count)));
        } else if (facts.isRegular() || facts.isLink()) {
          visitor.file(level.directory, at, facts);
        }
      }
    } catch (IOException e) {
      throw explain(at, e);
    } catch (IllegalArgumentException e) {
      throw new ImageException(
          Reason.UNSUPPORTED,
          "What a disk cannot have is at " + at + ": " + e.getMessage(),
          "Rename or remove it, or leave it out of the directory.",
          e);
    }
  }

  private List<Path> list(Path directory, int[] count) throws IOException {
    List<Path> files = new ArrayList<>();
    try (DirectoryStream<Path> stream = Files.newDirectoryStream(directory)) {
      for (Path file : stream) {
        if (++count[0] > MAX_FILES) {
          throw new ImageException(
              Reason.TOO_LARGE,
              "The directory " + root + " has more than " + MAX_FILES + " files",
              "Make several disks of it.",
              null);
        }
        files.add(file);
      }
    } catch (DirectoryIteratorException e) {
      throw e.getCause();
    }
    files.sort((one, other) -> one.toString().compareTo(other.toString()));
    return files;
  }

  private RuntimeException explain(Path at, IOException e) {
    if (e instanceof ClosedByInterruptException) {
      return new Interrupted();
    }
    if (e instanceof Ext4LimitException) {
      return new ImageException(
          Reason.TOO_LARGE, "The disk of " + root + " is too large, at " + at + ": " + e, null, e);
    }
    if (at.equals(root) && e instanceof NoSuchFileException) {
      return new ImageException(Reason.NOT_FOUND, "No such directory: " + root, null, e);
    }
    if (at.equals(root) && e instanceof NotDirectoryException) {
      return new ImageException(Reason.NOT_FOUND, "No directory: " + root, null, e);
    }
    if (e instanceof EOFException || e instanceof NoSuchFileException) {
      return new ImageException(
          Reason.CHANGING,
          at
              + (e instanceof EOFException ? " became shorter" : " went away")
              + " while it was copied to a disk",
          "Copy it when nobody changes it.",
          e);
    }
    return new ImageException(
        Reason.HOST_DISK,
        at + " cannot be copied to a disk: " + e,
        Shortage.remedy(
            e, "Give this user the right to read it, or leave it out of the directory."),
        e);
  }

  private FileName name(Path path) {
    String name = String.valueOf(path.getFileName());
    // What Java makes of bytes that are not of the encoding that it has names in.
    if (name.indexOf('\ufffd') >= 0) {
      throw new ImageException(
          Reason.UNSUPPORTED,
          "A name is not UTF-8, or this Java does not have names in UTF-8: " + path,
          "Rename it, or start Java with LC_ALL=C.UTF-8.",
          null);
    }
    return FileName.of(name);
  }

  private byte[] target(Path link) throws IOException {
    String target = Files.readSymbolicLink(link).toString();
    return (unix ? target : target.replace(link.getFileSystem().getSeparator(), "/"))
        .getBytes(StandardCharsets.UTF_8);
  }

  /** Those of programs, user.*: Java gets no others. */
  private ExtendedAttributes extended(Path path) throws IOException {
    if (!unix) {
      return ExtendedAttributes.NONE;
    }
    UserDefinedFileAttributeView view =
        Files.getFileAttributeView(
            path, UserDefinedFileAttributeView.class, LinkOption.NOFOLLOW_LINKS);
    Map<String, byte[]> values = new HashMap<>();
    try {
      for (String name : view == null ? List.<String>of() : view.list()) {
        ByteBuffer value = ByteBuffer.allocate(view.size(name));
        int ignored = view.read(name, value);
        byte[] text = ("user." + name).getBytes(StandardCharsets.UTF_8);
        byte[] bytes = new byte[value.flip().remaining()];
        value.get(bytes);
        values.put(new String(text, StandardCharsets.ISO_8859_1), bytes);
      }
    } catch (FileSystemException e) {
      if (Files.getFileStore(path).supportsFileAttributeView(UserDefinedFileAttributeView.class)) {
        throw e;
      }
    }
    return ExtendedAttributes.of(values);
  }

  /** Adds up what the disk has to hold, in blocks, and more rather than less. */
  private final class Sizing implements Visitor<Path> {
    private final Map<Object, Boolean> seen = new HashMap<>();
    private long files;
    private long bytes;
    private long blocks;

    /** Of names, in which the blocks of directories are counted, too. */
    private long names;

    @Override
    public Path directory(@Nullable Path parent, Path path, HostFile facts) {
      entry(path);
      // Its first block, one for the index, and one with extended attributes.
      blocks += 3;
      return path;
    }

    @Override
    public void file(Path parent, Path path, HostFile facts) {
      entry(path);
      if (facts.sharedKey() != null && seen.put(facts.sharedKey(), true) != null) {
        return;
      }
      blocks += 2;
      if (facts.isRegular()) {
        long own = facts.size() / BLOCK + 1;
        bytes += facts.size();
        blocks += own + own / BLOCKS_PER_LEAF;
        // Without an overflow: what is more than any disk has is refused.
        if (facts.size() < 0 || blocks > 1L << 33) {
          throw new ImageException(
              Reason.TOO_LARGE,
              "The directory " + root + " has more than 16 TiB, up to " + path,
              "Leave large files with holes, such as those of /proc, out of it.",
              null);
        }
      }
    }

    private void entry(Path path) {
      files++;
      names += ENTRY + 3L * String.valueOf(path.getFileName()).length();
      while (names >= USED_OF_BLOCK) {
        names -= USED_OF_BLOCK;
        blocks++;
      }
    }
  }

  /** Copies. */
  private final class Copying implements Visitor<Directory> {
    private final Ext4Writer writer;
    private final Meter meter;

    /** Files with several names, by what they are. */
    private final Map<Object, Inode> linked = new HashMap<>();

    Copying(Ext4Writer writer, Meter meter) {
      this.writer = writer;
      this.meter = meter;
    }

    @Override
    public Directory directory(@Nullable Directory parent, Path path, HostFile facts)
        throws IOException {
      InodeAttributes attributes = attributes(facts, extended(path));
      meter.file();
      if (parent == null) {
        writer.setAttributes(writer.root(), attributes);
        return writer.root();
      }
      return writer.createDirectory(parent, name(path), attributes);
    }

    @Override
    public void file(Directory parent, Path path, HostFile facts) throws IOException {
      FileName name = name(path);
      Object key = facts.sharedKey();
      Inode first = key == null ? null : linked.get(key);
      if (first != null) {
        writer.link(parent, name, first);
      } else {
        Inode made =
            facts.isLink() ? link(parent, name, path, facts) : copy(parent, name, path, facts);
        if (key != null) {
          linked.put(key, made);
        }
      }
      meter.file();
    }

    private Inode link(Directory parent, FileName name, Path path, HostFile facts)
        throws IOException {
      byte[] target = target(path);
      InodeAttributes attributes = attributes(facts, ExtendedAttributes.NONE);
      return written(() -> writer.createSymbolicLink(parent, name, attributes, target));
    }

    private Inode copy(Directory parent, FileName name, Path path, HostFile facts)
        throws IOException {
      InodeAttributes attributes = attributes(facts, extended(path));
      try (InputStream in =
          new Source(Files.newInputStream(path, LinkOption.NOFOLLOW_LINKS), meter)) {
        return written(
            () -> writer.createFileWithHoles(parent, name, attributes, facts.size(), in));
      } catch (SourceFailed e) {
        throw e.failure;
      }
    }

    private InodeAttributes attributes(HostFile facts, ExtendedAttributes extended) {
      return new InodeAttributes(
          facts.permissions(),
          owner == null ? facts.uid() : owner.uid(),
          owner == null ? facts.gid() : owner.gid(),
          facts.modified().toInstant(),
          extended);
    }
  }

  @FunctionalInterface
  private interface Writing {
    Inode write() throws IOException;
  }

  /** What fails here is the image's fault, but for limits and content that ends early. */
  private static Inode written(Writing writing) throws IOException {
    try {
      return writing.write();
    } catch (Ext4LimitException | EOFException | ClosedByInterruptException e) {
      throw e;
    } catch (IOException e) {
      throw new WriteFailed(e);
    }
  }

  /** A file of the directory that cannot be read, on its way through the writer. */
  private static final class SourceFailed extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final transient IOException failure;

    SourceFailed(IOException failure) {
      super(null, failure, false, false);
      this.failure = failure;
    }
  }

  /** Tells its own failures from those of the image, and how much was read. */
  private static final class Source extends FilterInputStream {
    private final Meter meter;

    Source(InputStream in, Meter meter) {
      super(in);
      this.meter = meter;
    }

    @Override
    public int read() throws IOException {
      byte[] one = new byte[1];
      return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
    }

    @Override
    public int read(byte[] bytes, int offset, int length) {
      // Streams of files do not look; and where all is zeros nothing is written.
      if (Thread.currentThread().isInterrupted()) {
        throw new SourceFailed(new ClosedByInterruptException());
      }
      try {
        int count = in.read(bytes, offset, length);
        meter.bytes(Math.max(0, count));
        return count;
      } catch (IOException e) {
        throw new SourceFailed(e);
      }
    }

    /** Which InputStream has by read. */
    @Override
    public int readNBytes(byte[] bytes, int offset, int length) {
      int count = 0;
      while (count < length) {
        int read = read(bytes, offset + count, length - count);
        if (read < 0) {
          break;
        }
        count += read;
      }
      return count;
    }
  }

  /** For messages. */
  @Override
  public String toString() {
    return root.toString();
  }
}
