// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.nio.file.Path;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Where this user's caches are. */
public final class CacheDirectory {
  private CacheDirectory() {}

  /**
   * Nacelle's, as the XDG Base Directory Specification has it (a relative path there is to be
   * ignored); on Windows it is below {@code %LOCALAPPDATA%} where that specification's variable is
   * not set. It need not exist.
   */
  public static Path ofThisUser() {
    return of(System::getenv, Path.of(System.getProperty("user.home")));
  }

  /**
   * That of another user.
   *
   * @param environment the variables of the environment, by name; null for absent ones
   */
  static Path of(UnaryOperator<@Nullable String> environment, Path home) {
    boolean windows = OperatingSystem.isWindows();
    Stream<String> variables =
        windows ? Stream.of("XDG_CACHE_HOME", "LOCALAPPDATA") : Stream.of("XDG_CACHE_HOME");
    return variables
        .flatMap(name -> Stream.ofNullable(environment.apply(name)))
        .map(Path::of)
        .filter(Path::isAbsolute)
        .findFirst()
        .orElse(windows ? home.resolve("AppData").resolve("Local") : home.resolve(".cache"))
        .resolve("nacelle");
  }
}
