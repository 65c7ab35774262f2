// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;

/** Something unpacked, of which no more than a limit is read: beyond it is an IOException. */
final class BoundedInputStream extends FilterInputStream {
  private final long limit;
  private long left;

  /**
   * @param limit in bytes
   */
  BoundedInputStream(InputStream in, long limit) {
    super(in);
    this.limit = limit;
    this.left = limit;
  }

  @Override
  public int read() throws IOException {
    int b = super.read();
    count(b < 0 ? 0 : 1);
    return b;
  }

  @Override
  public int read(byte[] buffer, int offset, int length) throws IOException {
    int n = super.read(buffer, offset, length);
    count(Math.max(0, n));
    return n;
  }

  @Override
  public long skip(long wanted) throws IOException {
    long n = super.skip(wanted);
    count(n);
    return n;
  }

  private void count(long n) throws IOException {
    left -= n;
    if (left < 0) {
      throw new IOException("it unpacks to more than " + limit + " bytes");
    }
  }
}
