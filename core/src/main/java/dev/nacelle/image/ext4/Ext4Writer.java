// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import dev.nacelle.image.ext4.FreeRuns.Run;
import java.io.ByteArrayInputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Writes an ext4 filesystem image in one pass: the content of a file goes to its place in the image
 * as it is read, and stays there; the tree is kept in memory and written by {@link #finish}. So
 * memory is bounded by the number of entries, not by their content, and nothing but the image is
 * created on the host.
 *
 * <p>Entries can be changed and removed again until then; blocks of removed files are reused. The
 * same calls give the same bytes. Any Linux since 2.6.28 mounts the result, read-only or not.
 *
 * <pre>{@code
 * try (Ext4Writer writer = Ext4Writer.create(image, Ext4Options.of(UUID.randomUUID()))) {
 *   InodeAttributes attributes = new InodeAttributes(0755, 0, 0, Instant.now());
 *   Directory etc = writer.createDirectory(writer.root(), FileName.of("etc"), attributes);
 *   byte[] motd = "Hello\n".getBytes(StandardCharsets.UTF_8);
 *   writer.createFile(
 *       etc, FileName.of("motd"), attributes, motd.length, new ByteArrayInputStream(motd));
 *   writer.finish();
 * }
 * }</pre>
 *
 * <p>Not safe for use from several threads. An interrupt during a write closes the image with a
 * {@link java.nio.channels.ClosedByInterruptException}. After an IOException from the image file
 * (not from content) the image is of no use.
 */
public final class Ext4Writer implements Closeable {
  /** Bytes in front of the superblock, which ext4 leaves to boot loaders (super.rst). */
  public static final int BOOT_AREA = Ext4Format.SUPERBLOCK_OFFSET;

  /** What an inode takes of its directory, for a name of a usual length. */
  private static final int DIRECTORY_ENTRY = 32;

  private final Ext4Options options;
  private final ImageFile file;
  private final BlockAllocator allocator = new BlockAllocator();
  private Directory root;
  private boolean finished;

  /** Of the tree as it is, for {@link #checkpointSize}. */
  private long inodes = 1;

  private long directories = 1;

  private Ext4Writer(ImageFile file, Ext4Options options) {
    this.options = options;
    this.file = file;
    this.root = new Directory(null, new InodeAttributes(0755, 0, 0, Instant.EPOCH));
    this.root.links = 1;
  }

  /** Starts an image in a file, which is created or emptied. */
  public static Ext4Writer create(Path path, Ext4Options options) throws IOException {
    return new Ext4Writer(new ImageFile(path), options);
  }

  /**
   * Starts an image in what keeps it in another way than a file of its bytes.
   *
   * @param image empty, or of zeros; is closed with the writer
   */
  public static Ext4Writer create(SeekableByteChannel image, Ext4Options options) {
    return new Ext4Writer(new ImageFile(image), options);
  }

  /**
   * Starts an image with all that another one holds. Its content is copied without a look at it,
   * its tree is read; both images go their own ways from there.
   *
   * @param base an image that was finished, and is no scratch disk
   * @throws Ext4ImageException when it is none, or damaged in what had to be read
   */
  public static Ext4Writer extend(Path base, Path path, Ext4Options options) throws IOException {
    return extend(base, TreeReader::read, path, options);
  }

  /**
   * As {@link #extend(Path, Path, Ext4Options)}, with what the other one held at a checkpoint.
   *
   * @param base the finished image in which the checkpoint was made
   */
  public static Ext4Writer extend(Path base, Checkpoint checkpoint, Path path, Ext4Options options)
      throws IOException {
    return extend(base, from -> TreeReader.read(from, checkpoint), path, options);
  }

  /** Finds a tree in an image. */
  @FunctionalInterface
  private interface Reading {
    TreeReader.Tree read(FileChannel from) throws IOException;
  }

  private static Ext4Writer extend(Path base, Reading reading, Path path, Ext4Options options)
      throws IOException {
    try (FileChannel from = FileChannel.open(base)) {
      TreeReader.Tree tree = reading.read(from);
      Ext4Writer writer = new Ext4Writer(new ImageFile(path), options);
      try {
        for (Run run : tree.content()) {
          writer.allocator.take(run);
          writer.file.copyBlocks(from, run);
        }
        writer.root = tree.root();
        writer.inodes = tree.inodes();
        writer.directories = tree.directories();
        return writer;
      } catch (IOException | RuntimeException e) {
        writer.close();
        throw e;
      }
    }
  }

  /**
   * Checks that an image file is as long as its superblock says; nothing else of it is read.
   *
   * @throws Ext4ImageException when it is not, or no finished image of a writer's
   */
  public static void requireWhole(Path image) throws IOException {
    try (FileChannel channel = FileChannel.open(image)) {
      TreeReader.readGeometry(channel);
    }
  }

  /** The root directory: mode 0755, owned by root, from 1970, until that is changed. */
  public Directory root() {
    return root;
  }

  /** Gives an inode other attributes. */
  public void setAttributes(Inode inode, InodeAttributes attributes) {
    requireLinked(inode);
    inode.setAttributes(attributes);
  }

  /**
   * Adds an empty directory. Of this and the other methods that add an entry:
   *
   * @throws IllegalArgumentException when the name is taken, or the parent was removed
   */
  public Directory createDirectory(Directory parent, FileName name, InodeAttributes attributes) {
    return add(parent, name, new Directory(parent, attributes));
  }

  /**
   * Adds a file and writes its content.
   *
   * @param size bytes to read from content
   * @throws java.io.EOFException when the content is shorter
   * @throws Ext4LimitException when the file or the filesystem would exceed 16 TiB
   */
  public RegularFile createFile(
      Directory parent, FileName name, InodeAttributes attributes, long size, InputStream content)
      throws IOException {
    return createSparseFile(
        parent, name, attributes, size, List.of(new DataRange(0, size)), content);
  }

  /**
   * Adds a file with holes and writes the content between them.
   *
   * @param size of the file in bytes, holes included
   * @param data what is no hole, in rising order without overlap; ranges may be empty
   * @param content the bytes of all ranges, without a gap
   * @throws IllegalArgumentException also when the ranges overlap or exceed the size
   * @throws java.io.EOFException when the content is shorter
   * @throws Ext4LimitException when the file or the filesystem would exceed 16 TiB
   */
  public RegularFile createSparseFile(
      Directory parent,
      FileName name,
      InodeAttributes attributes,
      long size,
      List<DataRange> data,
      InputStream content)
      throws IOException {
    requireFree(parent, name);
    requireSize(size);
    List<DataRange> ranges = new ArrayList<>(data.size());
    long end = 0;
    for (DataRange range : data) {
      if (range.offset() < end || range.end() > size) {
        throw new IllegalArgumentException("a range overlaps or exceeds the file: " + range);
      }
      end = range.end();
      if (range.length() > 0) {
        ranges.add(range);
      }
    }
    int[] extents = ContentWriter.write(allocator, file, ranges, content);
    return add(parent, name, new RegularFile(attributes, size, extents));
  }

  /**
   * Adds a file and writes its content, of which blocks of zeros become holes: for content whose
   * holes nobody tells.
   *
   * @param size bytes to read from content
   * @throws java.io.EOFException when the content is shorter
   * @throws Ext4LimitException when the file or the filesystem would exceed 16 TiB
   */
  public RegularFile createFileWithHoles(
      Directory parent, FileName name, InodeAttributes attributes, long size, InputStream content)
      throws IOException {
    requireFree(parent, name);
    requireSize(size);
    int[] extents = ContentWriter.writeWithHoles(allocator, file, size, content);
    return add(parent, name, new RegularFile(attributes, size, extents));
  }

  private static void requireSize(long size) throws Ext4LimitException {
    if (size > Ext4Format.MAX_FILE_SIZE) {
      throw new Ext4LimitException("a file of " + size + " bytes is larger than 16 TiB");
    }
  }

  /**
   * Adds a symbolic link. Its permissions are always 0777, as everywhere in Linux.
   *
   * @param target 1 to 4095 bytes without NUL
   */
  public SymbolicLink createSymbolicLink(
      Directory parent, FileName name, InodeAttributes attributes, byte[] target)
      throws IOException {
    requireFree(parent, name);
    if (target.length == 0 || target.length > SymbolicLink.MAX_TARGET_BYTES) {
      throw new IllegalArgumentException(
          "the target of a symbolic link has " + target.length + " bytes, not 1 to 4095");
    }
    for (byte b : target) {
      if (b == 0) {
        throw new IllegalArgumentException("the target of a symbolic link holds a NUL");
      }
    }
    InodeAttributes open =
        new InodeAttributes(
            0777, attributes.uid(), attributes.gid(), attributes.modified(), attributes.extended());
    SymbolicLink link = new SymbolicLink(open, target.clone());
    if (!link.isInline()) {
      link.extents =
          ContentWriter.write(
              allocator,
              file,
              List.of(new DataRange(0, target.length)),
              new ByteArrayInputStream(target));
    }
    return add(parent, name, link);
  }

  /**
   * Adds a device node, FIFO or socket.
   *
   * @param major 0 to 4095, for a device; 0 for others
   * @param minor 0 to 1048575, for a device; 0 for others
   */
  public SpecialFile createSpecialFile(
      Directory parent,
      FileName name,
      InodeAttributes attributes,
      SpecialFile.Type type,
      int major,
      int minor) {
    int maxMajor = type.isDevice() ? SpecialFile.MAX_MAJOR : 0;
    int maxMinor = type.isDevice() ? SpecialFile.MAX_MINOR : 0;
    if (major < 0 || major > maxMajor || minor < 0 || minor > maxMinor) {
      throw new IllegalArgumentException(
          "no device number of a " + type + ": " + major + ":" + minor);
    }
    return add(parent, name, new SpecialFile(attributes, type, major, minor));
  }

  /**
   * Adds a hard link.
   *
   * @param inode anything but a directory
   * @throws Ext4LimitException when it has 65,000 links already
   */
  public void link(Directory parent, FileName name, Inode inode) throws Ext4LimitException {
    if (inode instanceof Directory) {
      throw new IllegalArgumentException("a directory has no hard links");
    }
    requireLinked(inode);
    if (inode.links == Ext4Format.MAX_LINKS) {
      throw new Ext4LimitException(
          "a file would have more than " + Ext4Format.MAX_LINKS + " links");
    }
    add(parent, name, inode);
  }

  /** Removes an entry, if it is there, and everything below it. Returns whether it was there. */
  public boolean remove(Directory parent, FileName name) {
    requireUnfinished();
    Inode removed = parent.take(name);
    if (removed == null) {
      return false;
    }
    Deque<Inode> pending = new ArrayDeque<>();
    pending.push(removed);
    while (!pending.isEmpty()) {
      Inode inode = pending.pop();
      inode.links--;
      inodes -= inode.links == 0 ? 1 : 0;
      if (inode instanceof Directory directory) {
        directories--;
        Collection<Inode> children = directory.entries().values();
        children.forEach(pending::push);
        if (!children.isEmpty()) {
          children.clear();
        }
      } else if (inode.links == 0) {
        ContentWriter.free(allocator, inode.extents);
      }
    }
    return true;
  }

  /**
   * Writes the tree as it is now into free blocks, where it stays when the tree goes on to change,
   * and with it all content that there is: blocks of files that are removed later are not used
   * again. The finished image does not show that: these blocks are free in it.
   *
   * <p>{@link #checkpointSize} says what that takes.
   *
   * @return for other images to start from, once this one is finished
   */
  public Checkpoint checkpoint() throws IOException {
    requireUnfinished();
    allocator.beginCheckpoint();
    Checkpoint checkpoint = new MetadataWriter(options, allocator, file).writeCheckpoint(root);
    allocator.endCheckpoint();
    return checkpoint;
  }

  /**
   * About how many bytes of the image a checkpoint would take now, at least a block for each
   * directory; trees of extents and blocks of attributes, of which most images have few, come on
   * top.
   */
  public long checkpointSize() {
    return directories * Ext4Format.BLOCK_SIZE + inodes * (Ext4Format.INODE_SIZE + DIRECTORY_ENTRY);
  }

  /**
   * How many bytes of blocks were filled so far: with content, also what was removed since or came
   * from a base, and with checkpoints.
   */
  public long written() {
    return allocator.handedOut() * Ext4Format.BLOCK_SIZE;
  }

  /**
   * Fills the part of the image that is not the filesystem's.
   *
   * @param bytes at most {@link #BOOT_AREA} bytes
   */
  public void setBootArea(byte[] bytes) throws IOException {
    requireUnfinished();
    if (bytes.length > BOOT_AREA) {
      throw new IllegalArgumentException(bytes.length + " bytes for a boot area");
    }
    file.seek(0);
    file.write(ByteBuffer.wrap(bytes));
  }

  /** Writes the rest; nothing can be changed afterwards. The caller forces it to the disk. */
  public void finish() throws IOException {
    requireUnfinished();
    finished = true;
    new MetadataWriter(options, allocator, file).write(root);
  }

  private <T extends Inode> T add(Directory parent, FileName name, T inode) {
    requireFree(parent, name);
    parent.put(name, inode);
    if (inode.links++ == 0) {
      inodes++;
      directories += inode instanceof Directory ? 1 : 0;
    }
    return inode;
  }

  private void requireFree(Directory parent, FileName name) {
    requireUnfinished();
    requireLinked(parent);
    @Nullable Inode there = parent.get(name);
    if (there != null) {
      throw new IllegalArgumentException("there is already an entry '" + name + "'");
    }
  }

  private static void requireLinked(Inode inode) {
    if (inode.links == 0) {
      throw new IllegalArgumentException("the inode was removed from the tree");
    }
  }

  private void requireUnfinished() {
    if (finished) {
      throw new IllegalStateException("the image is finished");
    }
  }

  /** Closes the file. An image that was not finished is not valid. */
  @Override
  public void close() throws IOException {
    file.close();
  }
}
