// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import dev.nacelle.internal.PrivateFile;
import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;

/** A new file of the host that gets content of the guest's, holes as such. */
public final class ContentWriter implements Closeable {
  private final FileChannel channel;
  private long position;
  private boolean inHole;

  /**
   * Creates the file, which its owner alone can read.
   *
   * @throws java.nio.file.FileAlreadyExistsException when there is something of that name, be it a
   *     link
   */
  public ContentWriter(Path file) throws IOException {
    channel = PrivateFile.open(file);
  }

  /** Writes data. */
  public void data(ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      position += channel.write(bytes, position);
    }
    inHole = false;
  }

  /** Passes over zeros. */
  public void hole(long bytes) {
    position += bytes;
    inHole = inHole || bytes > 0;
  }

  /** The file is as long as all of it, also when that ends with a hole. */
  @Override
  public void close() throws IOException {
    try (channel) {
      if (inHole) {
        channel.write(ByteBuffer.allocate(1), position - 1);
      }
    }
  }
}
