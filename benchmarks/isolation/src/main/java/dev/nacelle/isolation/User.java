// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;

/**
 * A user by numbers, as an image's configuration names it (config.md of the OCI image
 * specification, "User").
 */
record User(int uid, int gid) {
  private static final int MAX_BYTES = 1 << 20;

  /**
   * @param text {@code user}, {@code uid}, {@code user:group} and so on
   * @param root whose /etc/passwd and /etc/group tell names
   * @throws IOException when there is no such user or group there
   */
  static User of(String text, Path root) throws IOException {
    String[] parts = text.split(":", 2);
    int uid;
    int gid = 0;
    if (isNumber(parts[0])) {
      uid = Integer.parseInt(parts[0]);
      String[] line = find(root, "etc/passwd", 2, parts[0]);
      gid = line == null ? 0 : Integer.parseInt(line[3]);
    } else {
      String[] line = find(root, "etc/passwd", 0, parts[0]);
      if (line == null) {
        throw new IOException("the image has no user " + parts[0]);
      }
      uid = Integer.parseInt(line[2]);
      gid = Integer.parseInt(line[3]);
    }
    if (parts.length == 2 && isNumber(parts[1])) {
      gid = Integer.parseInt(parts[1]);
    } else if (parts.length == 2) {
      String[] line = find(root, "etc/group", 0, parts[1]);
      if (line == null) {
        throw new IOException("the image has no group " + parts[1]);
      }
      gid = Integer.parseInt(line[2]);
    }
    return new User(uid, gid);
  }

  private static boolean isNumber(String text) {
    return text.matches("[0-9]{1,9}");
  }

  private static String @org.jspecify.annotations.Nullable [] find(
      Path root, String file, int column, String value) throws IOException {
    Path path = root.resolve(file);
    // A link would lead out of the image, to the host's.
    if (!Files.isRegularFile(path, LinkOption.NOFOLLOW_LINKS)
        || !Files.isDirectory(root.resolve("etc"), LinkOption.NOFOLLOW_LINKS)
        || Files.size(path) > MAX_BYTES) {
      return null;
    }
    for (String line :
        new String(Files.readAllBytes(path), StandardCharsets.ISO_8859_1).split("\n", -1)) {
      String[] fields = line.split(":", -1);
      if (fields.length > 3 && fields[column].equals(value) && isNumber(fields[2])) {
        return file.endsWith("passwd") && !isNumber(fields[3]) ? null : fields;
      }
    }
    return null;
  }
}
