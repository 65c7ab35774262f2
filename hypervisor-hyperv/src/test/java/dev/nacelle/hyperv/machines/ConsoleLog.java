// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.machines;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** All that a machine's serial port has said. */
final class ConsoleLog {
  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private boolean ended;

  synchronized void add(byte[] buffer, int count) {
    bytes.write(buffer, 0, count);
    notifyAll();
  }

  synchronized void end() {
    ended = true;
    notifyAll();
  }

  synchronized void awaitEnd() {
    boolean interrupted = false;
    while (!ended) {
      interrupted |= await0();
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private boolean await0() {
    try {
      wait();
      return false;
    } catch (InterruptedException e) {
      return true;
    }
  }

  synchronized String text() {
    return bytes.toString(StandardCharsets.ISO_8859_1);
  }

  /** Writes what there is and what comes, to the end. */
  void copyTo(OutputStream out) throws IOException {
    int done = 0;
    while (true) {
      byte[] next;
      synchronized (this) {
        while (!ended && bytes.size() == done) {
          boolean ignored = await0();
        }
        byte[] all = bytes.toByteArray();
        next = Arrays.copyOfRange(all, done, all.length);
        done = all.length;
      }
      if (next.length == 0) {
        return;
      }
      out.write(next);
      out.flush();
    }
  }
}
