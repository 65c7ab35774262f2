// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.spi.GuestConnection;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** A connection for a test that waits: reads and writes block until an event lets them go on. */
final class BlockingSocket implements AutoCloseable {
  private final GuestConnection connection;
  private int events;

  BlockingSocket(GuestConnection connection) {
    this.connection = connection;
    connection.setEventListener(this::onEvent);
  }

  private synchronized void onEvent() {
    events++;
    notifyAll();
  }

  private synchronized int events() {
    return events;
  }

  private synchronized void awaitEventAfter(int seen) throws IOException {
    try {
      while (events == seen) {
        wait();
      }
    } catch (InterruptedException e) {
      throw new IOException(e);
    }
  }

  /** Writes all of it. */
  void write(byte[] bytes) throws IOException {
    ByteBuffer source = ByteBuffer.wrap(bytes);
    while (true) {
      int seen = events();
      connection.write(source);
      if (!source.hasRemaining()) {
        return;
      }
      awaitEventAfter(seen);
    }
  }

  /** Writes as much as is taken without waiting; returns how much that was. */
  int writeSome(byte[] bytes) throws IOException {
    return connection.write(ByteBuffer.wrap(bytes));
  }

  void writeLine(String line) throws IOException {
    write((line + "\n").getBytes(StandardCharsets.UTF_8));
  }

  void endOutput() throws IOException {
    connection.shutdownOutput();
  }

  /** Reads to the end. */
  byte[] readAll() throws IOException {
    return readUpTo(Integer.MAX_VALUE);
  }

  String readText() throws IOException {
    return new String(readAll(), StandardCharsets.UTF_8);
  }

  /** Reads so many bytes, or to the end. */
  byte[] readUpTo(int length) throws IOException {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    ByteBuffer buffer = ByteBuffer.allocate(64 << 10);
    while (all.size() < length) {
      buffer.clear().limit(Math.min(buffer.capacity(), length - all.size()));
      int seen = events();
      int n = connection.read(buffer);
      if (n < 0) {
        break;
      } else if (n == 0) {
        awaitEventAfter(seen);
      } else {
        all.write(buffer.array(), 0, n);
      }
    }
    return all.toByteArray();
  }

  @Override
  public void close() {
    connection.close();
  }
}
