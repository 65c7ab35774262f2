// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.vmbus;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** A fixed VHD (Virtual Hard Disk Image Format Specification, version 1.0), opened for a disk. */
final class FixedVhdFile implements AutoCloseable {
  static final int SECTOR = 512;

  private static final int FOOTER = 512;
  private static final int CURRENT_SIZE = 48;
  private static final int TYPE = 60;
  private static final int CHECKSUM = 64;
  private static final int FIXED = 2;

  private final FileChannel file;
  private final boolean readOnly;
  private final long size;

  /**
   * @throws IOException also when it is none
   */
  FixedVhdFile(Path path, boolean readOnly) throws IOException {
    this.readOnly = readOnly;
    file =
        readOnly
            ? FileChannel.open(path, StandardOpenOption.READ)
            : FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE);
    size = file.size() - FOOTER;
    ByteBuffer footer = ByteBuffer.wrap(read(size, FOOTER));
    int sum = footer.getInt(CHECKSUM);
    for (int i = 0; i < FOOTER; i++) {
      sum += i < CHECKSUM || i >= CHECKSUM + 4 ? footer.get(i) & 0xff : 0;
    }
    if (!new String(footer.array(), 0, 8, StandardCharsets.US_ASCII).equals("conectix")
        || footer.getInt(TYPE) != FIXED
        || footer.getLong(CURRENT_SIZE) != size
        || sum != -1) {
      file.close();
      throw new IOException(path + " is no fixed VHD");
    }
  }

  boolean readOnly() {
    return readOnly;
  }

  long sectors() {
    return size / SECTOR;
  }

  byte[] read(long position, int length) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(length);
    while (bytes.hasRemaining()) {
      if (file.read(bytes, position + bytes.position()) < 0) {
        throw new IOException("the disk's file became shorter");
      }
    }
    return bytes.array();
  }

  void write(long position, byte[] content) throws IOException {
    ByteBuffer bytes = ByteBuffer.wrap(content);
    while (bytes.hasRemaining()) {
      int ignored = file.write(bytes, position + bytes.position());
    }
  }

  void flush() throws IOException {
    file.force(false);
  }

  @Override
  public void close() {
    try {
      file.close();
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }
}
