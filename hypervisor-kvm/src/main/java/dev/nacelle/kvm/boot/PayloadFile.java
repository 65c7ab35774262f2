// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.kvm.sys.ErrnoException;
import dev.nacelle.kvm.sys.FileDescriptor;
import dev.nacelle.kvm.sys.NotAFileException;
import java.nio.file.Path;

/** Opens what a user named to be started. */
final class PayloadFile {
  private PayloadFile() {}

  /**
   * Opens a regular file for reading, without waiting.
   *
   * @param what it is to the user, for messages
   * @throws HypervisorException when it cannot be opened, or is something else
   */
  static FileDescriptor open(Path path, String what) {
    try {
      return FileDescriptor.openFile(path, false);
    } catch (ErrnoException e) {
      throw new HypervisorException(
          Stage.CREATE, "cannot open the " + what + ": " + e.getMessage(), e.remedy(), e);
    } catch (NotAFileException e) {
      throw new HypervisorException(
          Stage.CREATE,
          "cannot use the " + what + ": " + e.getMessage(),
          "Give the path of a regular file.",
          e);
    }
  }
}
