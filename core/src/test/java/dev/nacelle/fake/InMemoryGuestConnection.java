// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.fake;

import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.GuestLostException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Random;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import org.jspecify.annotations.Nullable;

/**
 * One end of a connection within this process that keeps the letter of {@link GuestConnection}'s
 * contract, and no more than the letter: buffers are small, reads and writes take a random part of
 * what they could, and readiness is told exactly when it is promised.
 */
public final class InMemoryGuestConnection implements GuestConnection {
  /** Two ends that are connected with each other. */
  public record Pair(InMemoryGuestConnection host, InMemoryGuestConnection guest) {}

  private final Pipe input;
  private final Pipe output;
  private final int guestPort;
  private final int hostPort;
  private volatile @Nullable Runnable listener;

  private InMemoryGuestConnection(Pipe input, Pipe output, int guestPort, int hostPort) {
    this.input = input;
    this.output = output;
    this.guestPort = guestPort;
    this.hostPort = hostPort;
  }

  /**
   * @param capacity of the buffer in each direction, in bytes
   * @param seed of the random sizes
   * @param events runs the event listeners
   */
  public static Pair pair(int capacity, long seed, Executor events, int guestPort, int hostPort) {
    Object lock = new Object();
    Random random = new Random(seed);
    Pipe toGuest = new Pipe(lock, capacity, random, events);
    Pipe toHost = new Pipe(lock, capacity, random, events);
    InMemoryGuestConnection host =
        new InMemoryGuestConnection(toHost, toGuest, guestPort, hostPort);
    InMemoryGuestConnection guest =
        new InMemoryGuestConnection(toGuest, toHost, guestPort, hostPort);
    toGuest.writer = host;
    toGuest.reader = guest;
    toHost.writer = guest;
    toHost.reader = host;
    return new Pair(host, guest);
  }

  @Override
  public int read(ByteBuffer destination) throws IOException {
    return input.read(destination);
  }

  @Override
  public int write(ByteBuffer source) throws IOException {
    return output.write(source);
  }

  @Override
  public void shutdownOutput() throws IOException {
    output.end();
  }

  @Override
  public void setEventListener(Runnable newListener) {
    listener = newListener;
    input.events.execute(newListener);
  }

  @Override
  public int guestPort() {
    return guestPort;
  }

  @Override
  public int hostPort() {
    return hostPort;
  }

  @Override
  public void close() {
    output.end();
    input.abandon();
  }

  /** What happens to both ends when one side breaks the rules. */
  public void reset() {
    reset(new IOException("reset"));
  }

  /** Likewise, as the host sees it. */
  public void reset(IOException why) {
    input.reset(why);
    output.reset(why);
  }

  /** What happens to both ends when the machine goes away. */
  public void lose() {
    input.reset(new GuestLostException("the virtual machine has ended"));
    output.reset(new GuestLostException("the virtual machine has ended"));
  }

  private void event() {
    Runnable current = listener;
    if (current != null) {
      try {
        input.events.execute(current);
      } catch (RejectedExecutionException e) {
        // The machine has gone, and nobody is to be told.
      }
    }
  }

  private static final class Pipe {
    private final Object lock;
    private final byte[] ring;
    private final Random random;
    private final Executor events;
    private long written;
    private long read;
    private boolean ended;
    private boolean abandoned;
    private @Nullable IOException reset;
    private boolean readerWaits;
    private boolean writerWaits;
    private @Nullable InMemoryGuestConnection reader;
    private @Nullable InMemoryGuestConnection writer;

    Pipe(Object lock, int capacity, Random random, Executor events) {
      this.lock = lock;
      this.ring = new byte[capacity];
      this.random = random;
      this.events = events;
    }

    int read(ByteBuffer destination) throws IOException {
      synchronized (lock) {
        if (abandoned) {
          throw new IOException("closed");
        }
        int available = (int) (written - read);
        if (available == 0) {
          if (reset != null) {
            throw reset;
          }
          readerWaits = !ended;
          return ended ? -1 : 0;
        }
        int count = part(Math.min(available, destination.remaining()));
        int at = (int) (read % ring.length);
        int first = Math.min(count, ring.length - at);
        destination.put(ring, at, first).put(ring, 0, count - first);
        read += count;
        if (writerWaits) {
          writerWaits = false;
          tell(writer);
        }
        return count;
      }
    }

    int write(ByteBuffer source) throws IOException {
      synchronized (lock) {
        if (reset != null) {
          throw reset;
        }
        if (ended || abandoned) {
          throw new IOException(ended ? "output was shut down" : "the peer reads no more");
        }
        int room = (int) (ring.length - (written - read));
        int count = part(Math.min(room, source.remaining()));
        int at = (int) (written % ring.length);
        int first = Math.min(count, ring.length - at);
        source.get(ring, at, first).get(ring, 0, count - first);
        written += count;
        if (source.hasRemaining()) {
          writerWaits = true;
          if (room > count) {
            // There was room for more: trying again makes sense at once.
            writerWaits = false;
            tell(writer);
          }
        }
        if (count > 0 && readerWaits) {
          readerWaits = false;
          tell(reader);
        }
        return count;
      }
    }

    /** A random part, and now and then nothing of it when something was possible. */
    private int part(int possible) {
      return possible <= 1 || random.nextInt(4) == 0 ? possible : 1 + random.nextInt(possible);
    }

    void end() {
      synchronized (lock) {
        if (!ended) {
          ended = true;
          tell(reader);
        }
      }
    }

    void abandon() {
      synchronized (lock) {
        if (!abandoned) {
          abandoned = true;
          tell(writer);
        }
      }
    }

    void reset(IOException why) {
      synchronized (lock) {
        reset = reset == null ? why : reset;
        tell(reader);
        tell(writer);
      }
    }

    private static void tell(@Nullable InMemoryGuestConnection end) {
      if (end != null) {
        end.event();
      }
    }
  }
}
