// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** Finds programs by their names. */
public final class ProgramSearch {
  /** What Windows has where the variable is not set. */
  private static final String ENDINGS = ".COM;.EXE;.BAT;.CMD";

  private ProgramSearch() {}

  /**
   * What to start a program by: the name, which Linux looks for on the PATH; on Windows the path of
   * the first file on the PATH that has it with an ending of PATHEXT. Windows itself would know
   * {@code .exe} only, and look in the working directory before the PATH.
   *
   * @param name of the program, or a path of its file
   * @throws IOException when there is none on Windows
   */
  public static String find(String name) throws IOException {
    if (!OperatingSystem.isWindows() || Path.of(name).getParent() != null) {
      return name;
    }
    return findOnPath(name, System::getenv)
        .orElseThrow(() -> new FileNotFoundException("there is no " + name + " on the PATH"))
        .toString();
  }

  /**
   * As Windows searches the PATH.
   *
   * @param environment the variables of the environment, by name; null for absent ones
   */
  static Optional<Path> findOnPath(String name, UnaryOperator<@Nullable String> environment) {
    List<String> endings = parts(environment.apply("PATHEXT"), ENDINGS, ";");
    for (String directory : parts(environment.apply("PATH"), "", File.pathSeparator)) {
      for (String ending : endings) {
        try {
          Path file = Path.of(directory, name + ending);
          if (file.isAbsolute() && Files.isRegularFile(file)) {
            return Optional.of(file);
          }
        } catch (InvalidPathException e) {
          // No directory that could have it.
        }
      }
    }
    return Optional.empty();
  }

  private static List<String> parts(@Nullable String list, String otherwise, String separator) {
    return List.of((list == null || list.isEmpty() ? otherwise : list).split(separator));
  }
}
