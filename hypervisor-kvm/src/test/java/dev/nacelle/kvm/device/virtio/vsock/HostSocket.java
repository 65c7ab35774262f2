// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * A program of the host on one connection. It relies on events as the SPI lets it: what could not
 * be read or written it tries again after the next event, and not before.
 */
final class HostSocket {
  final GuestConnection connection;
  volatile boolean mayRead;
  volatile boolean mayWrite;
  volatile int events;
  long sent;
  long received;
  boolean ended;
  boolean endedOutput;
  boolean closed;
  boolean readFailed;
  boolean writeFailed;
  private final ByteBuffer input = ByteBuffer.allocate(64 << 10);
  private final ByteBuffer output = ByteBuffer.allocate(64 << 10);

  HostSocket(GuestConnection connection) {
    this.connection = connection;
    connection.setEventListener(this::onEvent);
  }

  private synchronized void onEvent() {
    events++;
    mayRead = true;
    mayWrite = true;
    notifyAll();
  }

  /** Waits for an event after so many. */
  synchronized void awaitEventAfter(int seen) throws InterruptedException {
    while (events == seen) {
      wait();
    }
  }

  /** Reads at most so much, and checks it; returns what read did. */
  int read(int most) {
    input.clear().limit(Math.min(most, input.capacity()));
    int n;
    try {
      mayRead = false;
      n = connection.read(input);
    } catch (IOException e) {
      readFailed = true;
      return -1;
    }
    mayRead |= n != 0;
    ended |= n < 0;
    for (int i = 0; i < n; i++) {
      if (input.get(i) != GuestSocket.pattern(connection.guestPort(), true, received + i)) {
        throw new AssertionError("wrong byte at " + (received + i) + " of " + connection);
      }
    }
    received += Math.max(0, n);
    return n;
  }

  /** Writes at most so much; returns what write did. */
  int write(int most) {
    output.clear().limit(Math.min(most, output.capacity()));
    for (int i = 0; i < output.limit(); i++) {
      output.put(i, GuestSocket.pattern(connection.guestPort(), false, sent + i));
    }
    int n;
    try {
      mayWrite = false;
      n = sent % 2 == 0 ? connection.write(output) : writeInPieces();
    } catch (IOException e) {
      writeFailed = true;
      return -1;
    }
    mayWrite |= !output.hasRemaining();
    sent += n;
    return n;
  }

  private int writeInPieces() throws IOException {
    int first = output.limit() / 3;
    ByteBuffer[] pieces = {output.slice(0, first), output.slice(first, output.limit() - first)};
    int n = connection.write(pieces, pieces.length);
    output.position(n);
    return n;
  }

  void endOutput() {
    endedOutput = true;
    try {
      connection.shutdownOutput();
    } catch (IOException e) {
      writeFailed = true;
    }
  }

  void close() {
    closed = true;
    connection.close();
  }
}
