// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.nio.file.Path;

/** Where this user's caches are. */
public final class CacheDirectory {
  private CacheDirectory() {}

  /**
   * Nacelle's, as the XDG Base Directory Specification has it: a relative path there is to be
   * ignored. It need not exist.
   */
  public static Path ofThisUser() {
    String xdg = System.getenv("XDG_CACHE_HOME");
    Path base =
        xdg != null && Path.of(xdg).isAbsolute()
            ? Path.of(xdg)
            : Path.of(System.getProperty("user.home"), ".cache");
    return base.resolve("nacelle");
  }
}
