// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * What a file of this host is, read at once. Where the host has no such modes, a directory's is
 * 0755 and another's 0644; where it has no owners, they are 0.
 *
 * @param permissions the low 12 bits of its mode
 * @param sharedKey what it is, where it has several names; null where it has one, or that is not
 *     known
 */
record HostFile(
    boolean isDirectory,
    boolean isRegular,
    boolean isLink,
    long size,
    FileTime modified,
    int permissions,
    long uid,
    long gid,
    @Nullable Object sharedKey) {

  /**
   * Reads it.
   *
   * @param unix whether its file system has that view ({@link #hasUnixView})
   * @param follow whether it is what a link leads to
   */
  static HostFile of(Path path, boolean unix, boolean follow) throws IOException {
    LinkOption[] options =
        follow ? new LinkOption[0] : new LinkOption[] {LinkOption.NOFOLLOW_LINKS};
    if (!unix) {
      BasicFileAttributes basic = Files.readAttributes(path, BasicFileAttributes.class, options);
      return new HostFile(
          basic.isDirectory(),
          basic.isRegularFile(),
          basic.isSymbolicLink(),
          basic.size(),
          basic.lastModifiedTime(),
          basic.isDirectory() ? 0755 : 0644,
          0,
          0,
          null);
    }
    Map<String, Object> all =
        Files.readAttributes(
            path, "unix:mode,ino,dev,nlink,uid,gid,size,lastModifiedTime", options);
    // S_IFMT and its values of linux/stat.h.
    int mode = (int) number(all, "mode");
    int type = mode & 0170000;
    boolean isDirectory = type == 0040000;
    boolean isShared = !isDirectory && number(all, "nlink") > 1;
    return new HostFile(
        isDirectory,
        type == 0100000,
        type == 0120000,
        number(all, "size"),
        (FileTime) Objects.requireNonNull(all.get("lastModifiedTime")),
        mode & 07777,
        number(all, "uid") & 0xffff_ffffL,
        number(all, "gid") & 0xffff_ffffL,
        isShared ? List.of(number(all, "dev"), number(all, "ino")) : null);
  }

  /** Whether a path's file system tells modes, owners and links. */
  static boolean hasUnixView(Path path) {
    return path.getFileSystem().supportedFileAttributeViews().contains("unix");
  }

  private static long number(Map<String, Object> attributes, String name) {
    return ((Number) Objects.requireNonNull(attributes.get(name))).longValue();
  }
}
