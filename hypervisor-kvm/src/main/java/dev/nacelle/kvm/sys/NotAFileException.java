// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.nio.file.Path;

/** A path names something else than a regular file. */
public final class NotAFileException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  NotAFileException(Path path, String kind) {
    super(path + " is " + kind + ", not a regular file");
  }
}
