// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Semaphore;

/** A guest's connection for threads that wait: one reads, one writes. */
public final class BlockingConnection implements AutoCloseable {
  private final GuestConnection connection;
  private final Semaphore readEvents = new Semaphore(0);
  private final Semaphore writeEvents = new Semaphore(0);

  public BlockingConnection(GuestConnection connection) {
    this.connection = connection;
    connection.setEventListener(
        () -> {
          readEvents.release();
          writeEvents.release();
        });
  }

  public GuestConnection connection() {
    return connection;
  }

  /** At least one byte, or -1 at the end. */
  public int read(ByteBuffer destination) throws IOException, InterruptedException {
    for (int count = connection.read(destination); ; count = connection.read(destination)) {
      if (count != 0) {
        return count;
      }
      readEvents.acquire();
    }
  }

  public void write(byte[] bytes) throws IOException, InterruptedException {
    ByteBuffer left = ByteBuffer.wrap(bytes);
    while (left.hasRemaining()) {
      connection.write(left);
      if (left.hasRemaining()) {
        writeEvents.acquire();
      }
    }
  }

  public byte[] readAll() throws IOException, InterruptedException {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    ByteBuffer buffer = ByteBuffer.allocate(64 * 1024);
    while (read(buffer) >= 0) {
      all.write(buffer.array(), 0, buffer.position());
      buffer.clear();
    }
    return all.toByteArray();
  }

  /** The next line without its end; what comes after it stays to be read. */
  public String readLine() throws IOException, InterruptedException {
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    ByteBuffer one = ByteBuffer.allocate(1);
    while (true) {
      if (read(one.clear()) < 0) {
        throw new IOException("the guest ended after '" + line + "'");
      }
      if (one.get(0) == '\n') {
        return line.toString(StandardCharsets.UTF_8);
      }
      line.write(one.get(0));
    }
  }

  @Override
  public void close() {
    connection.close();
  }
}
