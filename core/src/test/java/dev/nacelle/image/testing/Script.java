// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.testing;

import dev.nacelle.internal.OperatingSystem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;

/** Shell scripts as programs. */
public final class Script {
  private Script() {}

  /**
   * Writes one; on Windows a batch file that starts it.
   *
   * @return what to start
   */
  public static Path write(Path directory, String name, String text) throws IOException {
    if (OperatingSystem.isWindows()) {
      Path script = Files.writeString(directory.resolve(name + ".sh"), text);
      return Files.writeString(
          directory.resolve(name + ".cmd"), "@bash \"" + script + "\" %*\r\n@exit /b %ERRORLEVEL%");
    }
    Path script = Files.writeString(directory.resolve(name), "#!/bin/sh\n" + text);
    return Files.setPosixFilePermissions(script, PosixFilePermissions.fromString("rwxr-xr-x"));
  }
}
