// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import dev.nacelle.GuestIOException;
import dev.nacelle.agent.FileCall;
import dev.nacelle.internal.BlockInputStream;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.ByteBuffer;
import java.util.Objects;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** What a call brings, as a stream of bytes; ends the call when it is closed. */
public abstract class GuestInput extends BlockInputStream {
  private static final ByteBuffer ZEROS = ByteBuffer.allocate(64 * 1024).asReadOnlyBuffer();
  private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);

  private final FileCall call;
  private final Function<Exception, RuntimeException> failures;
  private final Runnable onEnd;
  private ByteBuffer bytes = NOTHING;
  private long zeros;
  private boolean ended;
  private volatile boolean closed;
  private @Nullable GuestIOException failure;

  /**
   * @param failures what users are told of what the call throws
   * @param onEnd called when the call is no more; perhaps more than once
   */
  protected GuestInput(
      FileCall call, Function<Exception, RuntimeException> failures, Runnable onEnd) {
    this.call = call;
    this.failures = failures;
    this.onEnd = onEnd;
  }

  /**
   * Gives more by {@link #give} and {@link #giveZeros}, or nothing of a part that has no bytes.
   *
   * @param part null when no more parts come
   * @return false at the end
   */
  protected abstract boolean take(FileCall.@Nullable Part part) throws IOException;

  /** The next bytes. */
  protected final void give(ByteBuffer next) {
    bytes = next;
  }

  /** The next bytes are so many zeros, before those that are given. */
  protected final void giveZeros(long count) {
    zeros = count;
  }

  @Override
  public synchronized int read(byte[] target, int offset, int length) throws IOException {
    Objects.checkFromIndexSize(offset, length, target.length);
    if (length == 0) {
      return 0;
    }
    while (true) {
      if (closed) {
        throw new GuestIOException("the stream is closed");
      }
      if (failure != null) {
        throw new GuestIOException(String.valueOf(failure.getMessage()), failure);
      }
      if (zeros > 0) {
        int count = (int) Math.min(zeros, Math.min(length, ZEROS.capacity()));
        ZEROS.get(0, target, offset, count);
        zeros -= count;
        return count;
      }
      if (bytes.hasRemaining()) {
        int count = Math.min(length, bytes.remaining());
        bytes.get(target, offset, count);
        return count;
      }
      if (ended) {
        return -1;
      }
      fill();
    }
  }

  private void fill() throws IOException {
    boolean whole = false;
    try {
      if (!take(call.next())) {
        ended = true;
        onEnd.run();
      }
      whole = true;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted while reading from the guest");
    } catch (IOException e) {
      throw e;
    } catch (Exception e) {
      RuntimeException told = failures.apply(e);
      failure = new GuestIOException(String.valueOf(told.getMessage()), told);
      throw failure;
    } finally {
      if (!whole) {
        onEnd.run();
      }
    }
  }

  @Override
  public void close() {
    closed = true;
    call.close();
    onEnd.run();
  }
}
