// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.files.FileInfo;
import dev.nacelle.files.TransferListener;
import dev.nacelle.files.TreeCopy;
import dev.nacelle.files.WriteOptions;
import java.io.InputStream;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;

/**
 * Reads and changes files of a sandbox, as root of its container. Got from {@link Sandbox#files()};
 * not meant to be implemented by others. Safe for use from several threads; 16 calls of a sandbox
 * run at a time, and a stream that is open is one.
 *
 * <p>Paths are those of the container, absolute, with {@code /}; each call resolves them in its
 * root, and neither a path nor a link leads out of it. Links of {@code /proc} to what processes
 * have open are not followed. Sizes have no bound but the {@linkplain #withLimit limit}, and holes
 * stay holes.
 *
 * <p>Every call waits in its own thread for a process of its own in the guest: a filesystem there
 * that does not answer stalls that call alone. Give it {@linkplain #withTimeout a time};
 * interrupting the thread ends it, too.
 *
 * <p>What comes out is the work of whoever runs in the sandbox: do not trust content, names or
 * sizes.
 *
 * <p>All methods throw {@link FileException} when it cannot be done, with the reason, {@link
 * SandboxEndedException} when the sandbox ends first, {@link InterruptedOperationException} when
 * the thread is interrupted, and {@link IllegalArgumentException} for a path that is not absolute,
 * holds a NUL, or has more than 4095 bytes.
 */
public interface GuestFiles {
  /**
   * What comes out to the host's disk at most, unless {@link #withLimit} says otherwise: 16 GiB.
   */
  DataSize DEFAULT_LIMIT = DataSize.gibibytes(16);

  /** The same in memory: 16 MiB. */
  DataSize DEFAULT_MEMORY_LIMIT = DataSize.mebibytes(16);

  /** The most files that a tree has which comes out to the host's disk. */
  long MAX_TREE_FILES = 1_000_000;

  /**
   * The same files, of which each call has that time: it is kept in the guest, and by the host
   * should the guest not keep it. By default there is none.
   *
   * @throws IllegalArgumentException when it is not between 1 ns and 100 years
   */
  GuestFiles withTimeout(Duration timeout);

  /**
   * The same files, of which no call brings more than that to the host: bytes of content, holes
   * included, of a file or of all files of a tree. Streams are the reader's to limit.
   */
  GuestFiles withLimit(DataSize limit);

  /** The same files, with a listener that is told how transfers go. */
  GuestFiles withListener(TransferListener listener);

  /**
   * The content of a regular file. At most 16 MiB, unless a {@linkplain #withLimit limit} is given.
   */
  byte[] read(String path);

  /**
   * Copies the content of a regular file to a file of the host, which is replaced as a whole; when
   * that fails it stays as it was.
   */
  void read(String path, Path to);

  /**
   * Opens a regular file to be read. What goes wrong later is a {@link GuestIOException} of the
   * stream. Close it: until it is read to its end or closed, it is a call that runs.
   */
  InputStream open(String path);

  /**
   * Writes a file: {@link #write(String, byte[], WriteOptions)} with {@link WriteOptions#DEFAULT}.
   */
  default void write(String path, byte[] content) {
    write(path, content, WriteOptions.DEFAULT);
  }

  /** Writes a file. */
  void write(String path, byte[] content, WriteOptions options);

  /** As {@link #write(String, InputStream, WriteOptions)} with {@link WriteOptions#DEFAULT}. */
  default void write(String path, InputStream content) {
    write(path, content, WriteOptions.DEFAULT);
  }

  /**
   * Writes a file of what is read from a stream up to its end; it is not closed. Zeros of 4 KiB and
   * more become holes.
   */
  void write(String path, InputStream content, WriteOptions options);

  /** As {@link #write(String, Path, WriteOptions)} with {@link WriteOptions#DEFAULT}. */
  default void write(String path, Path content) {
    write(path, content, WriteOptions.DEFAULT);
  }

  /** Writes a file with the content of a file of the host. Zeros of 4 KiB and more become holes. */
  void write(String path, Path content, WriteOptions options);

  /** What there is to tell of a file, or of the one that a link leads to. */
  FileInfo info(String path);

  /** The same of a link itself. */
  FileInfo linkInfo(String path);

  /** Whether there is a file, or a link that leads to one. */
  boolean exists(String path);

  /**
   * The files in a directory, by name; of links, what they are themselves. At most 100,000.
   *
   * @throws FileException when there are more ({@code TOO_LARGE})
   */
  List<FileInfo> list(String path);

  /** Makes a directory, root's, with permissions 0755. */
  void makeDirectory(String path);

  /** Makes a directory and those above it, as far as they are not there. */
  void makeDirectories(String path);

  /**
   * Moves a file or a directory, as rename(2): within one filesystem, and in the place of a file
   * that is there.
   */
  void move(String from, String to);

  /** Removes a file, a link or an empty directory. */
  void remove(String path);

  /** Removes a file, a link, or a directory with all that is in it on its filesystem. */
  void removeTree(String path);

  /** Makes another name of a file: a hard link. */
  void link(String path, String existing);

  /**
   * Makes a symbolic link.
   *
   * @param target its text: a path that need not be there
   */
  void symbolicLink(String path, String target);

  /**
   * Sets the low 12 bits of a file's mode.
   *
   * @throws IllegalArgumentException when there are other bits
   */
  void setPermissions(String path, int permissions);

  /**
   * Sets a file's owner and group, of a link those of the file that it leads to.
   *
   * @param uid 0 to 2^32 - 2
   * @param gid likewise
   */
  void setOwner(String path, long uid, long gid);

  /** Sets when a file was last changed. */
  void setModified(String path, Instant modified);

  /**
   * Copies a directory of the guest, with all that is in it on its filesystem, to the host. What is
   * in it may be made to do harm, so it is unpacked by these rules:
   *
   * <ul>
   *   <li>The host's directory is made, or is empty. Nothing is written outside of it, and nothing
   *       through a link. When the copy fails, it is removed, or empty again.
   *   <li>Regular files, hard links and directories come with their permissions but for
   *       set-user-ID, set-group-ID and the sticky bit, and with their times. They are the
   *       caller's, who can always read and write them. Extended attributes do not come.
   *   <li>Of symbolic links those come whose target is relative and within the directory, whatever
   *       other links there are. They are made last. On a host that makes no links they are
   *       skipped.
   *   <li>Devices, FIFOs and other links are {@linkplain TreeCopy#skipped() skipped}; sockets are
   *       as if they were not there.
   *   <li>A name that the host cannot have is an error that names it, and so are two that it takes
   *       for one: on Windows those with {@code \ : * ? " < > |}, with a dot or a space at the end,
   *       or of devices, such as {@code aux.txt}, and those that differ in case only.
   *   <li>At most {@value #MAX_TREE_FILES} files, and not more bytes than the {@linkplain
   *       #withLimit limit}.
   * </ul>
   */
  TreeCopy readTree(String path, Path to);

  /**
   * Copies a directory of the host, with all that is in it, to the guest, where it is made when it
   * is not there, with those above it. What is there is replaced, but for directories. All is
   * root's; permissions are the host's, where it has POSIX's, otherwise 0644 and 0755. Links are
   * copied, and not followed.
   */
  default void writeTree(String path, Path from) {
    writeTree(path, from, 0, 0);
  }

  /**
   * The same for another owner.
   *
   * @param uid 0 to 2^32 - 2
   * @param gid likewise
   */
  void writeTree(String path, Path from, long uid, long gid);

  /**
   * Opens a directory of the guest, with all that is in it on its filesystem, as a tar archive
   * (POSIX pax), with owners, permissions, links and extended attributes. A file with holes is in
   * GNU's sparse format 1.0, which GNU tar, bsdtar, Python's tarfile and {@link #writeTar} unpack
   * with its holes; those behind the first 65,536 parts of a file that hold data are zeros. Of a
   * file that changes while it is read, what has come into a hole is left out, and what has gone is
   * zeros.
   *
   * <p>It is as hostile as the guest: what unpacks it needs rules like those of {@link #readTree}.
   * What goes wrong later is a {@link GuestIOException} of the stream. Close it, as that of {@link
   * #open}.
   */
  InputStream openTar(String path);

  /**
   * Unpacks a tar archive into a directory of the guest, which is made when it is not there, with
   * those above it: that of GNU tar or pax, not compressed, with owners, permissions, links, holes
   * and extended attributes. What is there is replaced, but for directories. Paths are taken
   * relative to the directory; one with {@code ..} is an error.
   *
   * @param tar is read to its end and not closed
   */
  void writeTar(String path, InputStream tar);
}
