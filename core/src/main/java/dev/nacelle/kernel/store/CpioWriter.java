// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import java.io.Closeable;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;

/**
 * Writes an initramfs archive: cpio's "newc" format, as Documentation/driver-api/early-userspace/
 * buffer-format.rst describes what the kernel reads. Everything belongs to root and is of the
 * epoch, so that the same content gives the same bytes.
 */
final class CpioWriter implements Closeable {
  private static final int DIRECTORY = 0040000;
  private static final int REGULAR = 0100000;
  private static final int CHARACTER_DEVICE = 0020000;

  private final OutputStream out;
  private long written;
  private int inode = 1;

  CpioWriter(OutputStream out) {
    this.out = out;
  }

  /** {@code path} without a leading slash; its parents must have been added before. */
  void directory(String path, int permissions) throws IOException {
    entry(path, DIRECTORY | permissions, 2, 0, 0, new byte[0]);
  }

  void file(String path, int permissions, byte[] content) throws IOException {
    entry(path, REGULAR | permissions, 1, 0, 0, content);
  }

  void characterDevice(String path, int permissions, int major, int minor) throws IOException {
    entry(path, CHARACTER_DEVICE | permissions, 1, major, minor, new byte[0]);
  }

  private void entry(String path, int mode, int links, int major, int minor, byte[] content)
      throws IOException {
    header(inode++, path, mode, links, major, minor, content.length);
    write(content);
    pad(4);
  }

  private void header(int number, String path, int mode, int links, int major, int minor, int size)
      throws IOException {
    byte[] name = (path + "\0").getBytes(StandardCharsets.UTF_8);
    int[] fields = {number, mode, 0, 0, links, 0, size, 0, 0, major, minor, name.length, 0};
    StringBuilder header = new StringBuilder("070701");
    for (int field : fields) {
      header.append(HexFormat.of().toHexDigits(field));
    }
    write(header.toString().getBytes(StandardCharsets.US_ASCII));
    write(name);
    pad(4);
  }

  private void write(byte[] bytes) throws IOException {
    out.write(bytes);
    written += bytes.length;
  }

  private void pad(int alignment) throws IOException {
    write(new byte[(int) (-written & (alignment - 1))]);
  }

  /** Ends the archive and closes the stream. */
  @Override
  public void close() throws IOException {
    try (out) {
      header(0, "TRAILER!!!", 0, 1, 0, 0, 0);
      pad(512);
    }
  }
}
