// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import java.lang.System.Logger.Level;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Executor;
import java.util.function.Consumer;

/**
 * The end of what the guest wrote to its serial port, in a fixed amount of memory, for hypervisors
 * to give as their machines' consoles. One thread writes; all else is safe from any.
 *
 * <p>While somebody listens, output is gathered and handed over on {@code executor}; when more
 * comes than the gathering buffer holds, the guest waits for the listener, which is called on the
 * guest's thread then. What one throws is logged the first time and otherwise ignored: it is no
 * failure of the guest's, nor of another listener's.
 */
public final class ConsoleRing implements Console {
  private static final int GATHERED = 4096;

  private final Executor executor;
  private final Executor aside;
  private final Runnable delivery = this::deliverInTurn;
  private final Runnable fullDelivery = this::deliver;

  private final byte[] ring;
  private long written;

  /** Held while listeners are called, so that they see the bytes in order. */
  private final Object delivering = new Object();

  private final List<Guarded> listeners = new CopyOnWriteArrayList<>();
  private byte[] gathered = {};
  private int gatheredCount;

  /** The executor has a delivery to do; it never has two. */
  private boolean deliveryWaits;

  /**
   * @param capacity how much of the end is kept, in bytes
   * @param executor hands output over
   * @param aside does so where the guest has to wait for it: on the calling thread, at once, as
   *     what is not the guest
   */
  public ConsoleRing(int capacity, Executor executor, Executor aside) {
    ring = new byte[capacity];
    this.executor = executor;
    this.aside = aside;
  }

  /** The guest wrote a byte. */
  public void write(byte value) {
    boolean newDelivery;
    boolean full;
    synchronized (ring) {
      ring[(int) (written++ % ring.length)] = value;
      if (listeners.isEmpty()) {
        return;
      }
      gathered[gatheredCount++] = value;
      full = gatheredCount == gathered.length;
      newDelivery = !full && !deliveryWaits;
      deliveryWaits |= newDelivery;
    }
    if (full) {
      aside.execute(fullDelivery);
    } else if (newDelivery) {
      executor.execute(delivery);
    }
  }

  private void deliverInTurn() {
    synchronized (ring) {
      deliveryWaits = false;
    }
    deliver();
  }

  /** Hands over what is gathered, now. */
  public void deliver() {
    synchronized (delivering) {
      byte[] bytes;
      synchronized (ring) {
        bytes = takeGathered();
      }
      handOver(bytes, listeners);
    }
  }

  private byte[] takeGathered() {
    byte[] bytes = Arrays.copyOf(gathered, gatheredCount);
    gatheredCount = 0;
    return bytes;
  }

  private static void handOver(byte[] bytes, List<Guarded> listeners) {
    if (bytes.length > 0) {
      for (Guarded listener : listeners) {
        listener.accept(bytes.clone());
      }
    }
  }

  private byte[] kept() {
    int end = (int) (written % ring.length);
    if (written < ring.length) {
      return Arrays.copyOf(ring, end);
    }
    byte[] bytes = new byte[ring.length];
    System.arraycopy(ring, end, bytes, 0, ring.length - end);
    System.arraycopy(ring, 0, bytes, ring.length - end, end);
    return bytes;
  }

  @Override
  public String tail() {
    byte[] bytes;
    synchronized (ring) {
      bytes = kept();
    }
    StringBuilder text = new StringBuilder();
    new String(bytes, StandardCharsets.UTF_8)
        .codePoints()
        .filter(c -> c == '\n' || c == '\t' || !Character.isISOControl(c))
        .forEach(text::appendCodePoint);
    return text.toString();
  }

  @Override
  public VirtualMachine.Listener stream(Consumer<byte[]> onOutput) {
    // Its own, so that the same consumer can listen twice and stop once.
    Guarded listener = new Guarded(onOutput);
    synchronized (delivering) {
      byte[] forOthers;
      List<Guarded> others;
      byte[] kept;
      synchronized (ring) {
        if (gathered.length == 0) {
          gathered = new byte[GATHERED];
        }
        // What is kept ends with it, so the new one is not to get it again.
        forOthers = takeGathered();
        others = List.copyOf(listeners);
        kept = kept();
        listeners.add(listener);
      }
      handOver(forOthers, others);
      handOver(kept, List.of(listener));
    }
    return () -> listeners.remove(listener);
  }

  /** Called by one thread at a time. */
  private static final class Guarded {
    private final Consumer<byte[]> listener;
    private boolean hasFailed;

    Guarded(Consumer<byte[]> listener) {
      this.listener = listener;
    }

    void accept(byte[] output) {
      try {
        listener.accept(output);
      } catch (RuntimeException | Error e) {
        if (!hasFailed) {
          hasFailed = true;
          System.getLogger(ConsoleRing.class.getName())
              .log(
                  Level.WARNING,
                  "a listener of a console failed; it is called again, and told of here only once",
                  e);
        }
      }
    }
  }
}
