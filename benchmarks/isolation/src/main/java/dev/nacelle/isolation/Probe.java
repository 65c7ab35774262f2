// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;

/** The program that measures from inside (guest-agent/tests/isolation_probe.rs). */
final class Probe {
  /** Where it is in an instance. */
  static final String PATH = "/isolation-probe";

  private static final String RESOURCE = "/META-INF/nacelle/x86_64/isolation_probe";

  private Probe() {}

  /** Unpacks it into a directory. */
  static Path unpack(Path directory) throws IOException {
    Path file = directory.resolve("isolation-probe");
    try (InputStream program = Probe.class.getResourceAsStream(RESOURCE)) {
      if (program == null) {
        throw new FileNotFoundException(
            RESOURCE + " is not on the class path: build with Maven, without -Dexec.skip");
      }
      Files.copy(program, file);
    }
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
    return file;
  }
}
