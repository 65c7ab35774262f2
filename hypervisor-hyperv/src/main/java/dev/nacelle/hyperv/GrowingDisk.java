// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.spi.DiskFormat;
import java.io.IOException;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.Path;

/** Disks that begin empty, as the service takes them: by name, when the machine starts. */
final class GrowingDisk implements DiskFormat {
  @Override
  public String extension() {
    return DynamicVhdx.EXTENSION;
  }

  @Override
  public boolean needsName() {
    return true;
  }

  @Override
  public SeekableByteChannel open(Path file, long bytes) throws IOException {
    return DynamicVhdx.create(file, bytes);
  }
}
