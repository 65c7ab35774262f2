// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import dev.nacelle.agent.AgentException;
import dev.nacelle.agent.FileCall;
import dev.nacelle.agent.FileFailedException;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;

/** Sends content to the guest; zeros of 4 KiB and more as holes. */
public final class ContentSender {
  /** What file systems of Linux allocate. */
  private static final int BLOCK = 4096;

  private static final byte[] ZEROS = new byte[BLOCK];

  private final FileCall call;
  private final Meter meter;
  private final boolean holes;
  private final byte[] buffer = new byte[64 * 1024];

  /** A hole that is yet to be sent, since more of it may come. */
  private long hole;

  /**
   * @param holes whether there may be some
   */
  public ContentSender(FileCall call, Meter meter, boolean holes) {
    this.call = call;
    this.meter = meter;
    this.holes = holes;
  }

  /** Sends what is read up to the end; what reading throws comes as it is. */
  public void send(InputStream content)
      throws IOException, AgentException, FileFailedException, InterruptedException {
    int length;
    do {
      length = fill(content);
      send(buffer, 0, length);
    } while (length == buffer.length);
    end();
  }

  /**
   * Reads as much as there is room for, unless the call ends first: a slow source may take long.
   */
  private int fill(InputStream content)
      throws IOException, AgentException, FileFailedException, InterruptedException {
    int length = 0;
    while (length < buffer.length) {
      int count = content.read(buffer, length, buffer.length - length);
      if (count < 0) {
        break;
      }
      length += count;
      call.requireGoingOn();
    }
    return length;
  }

  /** Sends an array's bytes. */
  public void send(byte[] content)
      throws AgentException, FileFailedException, InterruptedException {
    for (int at = 0; at < content.length; at += buffer.length) {
      send(content, at, Math.min(buffer.length, content.length - at));
    }
    end();
  }

  /** Sends zeros, for {@link #end()} to come. */
  void zeros(long count) throws AgentException, FileFailedException, InterruptedException {
    meter.bytes(count);
    hole += count;
  }

  /** Sends bytes, for {@link #end()} to come. */
  void send(byte[] bytes, int offset, int length)
      throws AgentException, FileFailedException, InterruptedException {
    meter.bytes(length);
    int dataStart = offset;
    int end = offset + length;
    for (int at = offset; holes && at < end; at += BLOCK) {
      int count = Math.min(BLOCK, end - at);
      if (count == BLOCK && Arrays.equals(bytes, at, at + BLOCK, ZEROS, 0, BLOCK)) {
        data(bytes, dataStart, at);
        hole += BLOCK;
        dataStart = at + BLOCK;
      }
    }
    data(bytes, dataStart, end);
  }

  private void data(byte[] bytes, int from, int to)
      throws AgentException, FileFailedException, InterruptedException {
    if (from < to) {
      end();
      call.data(bytes, from, to - from);
    }
  }

  /** Sends what is left. */
  void end() throws AgentException, FileFailedException, InterruptedException {
    if (hole > 0) {
      call.hole(hole);
      hole = 0;
    }
  }
}
