// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * How a hypervisor has the images of disks that begin with zeros, and take space as they are
 * written to. Safe for use from several threads.
 */
public interface DiskFormat {
  /** A raw image: a sparse file, which a machine has open once it is made. */
  DiskFormat RAW =
      new DiskFormat() {
        @Override
        public String extension() {
          return "raw";
        }

        @Override
        public boolean needsName() {
          return false;
        }

        @Override
        public SeekableByteChannel open(Path file, long bytes) throws IOException {
          return FileChannel.open(file, StandardOpenOption.WRITE);
        }
      };

  /** What the names of such files end with, after a dot. */
  String extension();

  /**
   * Whether a machine needs the name of its image until it is closed. Otherwise it may be taken
   * away once {@link Hypervisor#create} has returned.
   */
  boolean needsName();

  /**
   * Makes a file such an image.
   *
   * @param file is there, and empty
   * @param bytes the size of the disk, a multiple of 4096
   * @return to write what the disk holds, by positions on the disk; the image is whole when it is
   *     closed. It cannot be read from, nor be truncated
   */
  SeekableByteChannel open(Path file, long bytes) throws IOException;
}
