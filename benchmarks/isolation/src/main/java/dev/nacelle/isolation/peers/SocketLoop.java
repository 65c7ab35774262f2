// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.peers;

import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import dev.nacelle.spi.MachineThread;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;

/**
 * One thread that waits for events of all sockets, edge triggered (epoll(7)). Safe for use from
 * several threads; whoever is told is told on that thread.
 */
final class SocketLoop implements AutoCloseable {
  static {
    Native.register(SocketLoop.class, NativeLibrary.getProcess());
  }

  private static final System.Logger LOGGER = System.getLogger(SocketLoop.class.getName());

  // include/uapi/linux/eventpoll.h; struct epoll_event is packed on x86-64
  private static final int CLOEXEC = 0x80000;
  private static final int NONBLOCK = 0x800;
  private static final int EPOLL_CTL_ADD = 1;
  private static final int EPOLLIN = 1;
  private static final int EPOLLOUT = 4;
  private static final int EPOLLRDHUP = 0x2000;
  private static final int EPOLLET = 1 << 31;
  private static final int EVENT_SIZE = 12;
  private static final int EVENT_DATA = 4;
  private static final int CAPACITY = 64;
  private static final int EINTR = 4;

  /** The key of what wakes the thread. */
  private static final long WAKE = 0;

  private final int epoll;
  private final int wake;
  private final Map<Long, Runnable> handlers = new ConcurrentHashMap<>();
  private final AtomicLong nextKey = new AtomicLong(WAKE);
  private final Queue<Runnable> tasks = new ConcurrentLinkedQueue<>();
  private final MachineThread thread;
  private volatile boolean closing;

  /** The descriptors are gone; by the lock. */
  private boolean ended;

  SocketLoop(String name) throws IOException {
    epoll = epoll_create1(CLOEXEC);
    wake = eventfd(0, CLOEXEC | NONBLOCK);
    if (epoll < 0 || wake < 0 || control(wake, WAKE) < 0) {
      throw new IOException("epoll or eventfd: errno " + Native.getLastError());
    }
    thread = new MachineThread(this::run, name);
    thread.start();
  }

  private int control(int fd, long key) {
    byte[] event = new byte[EVENT_SIZE];
    ByteBuffer.wrap(event)
        .order(ByteOrder.nativeOrder())
        .putInt(EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
        .putLong(key);
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, event);
  }

  /**
   * Has the handler called after each of the socket's events, also one that was there before. Its
   * closing takes it away from epoll.
   *
   * @return for {@link #forget}
   */
  long add(HostSocket socket, Runnable handler) throws IOException {
    long key = nextKey.incrementAndGet();
    handlers.put(key, handler);
    if (control(socket.fd(), key) < 0) {
      handlers.remove(key);
      throw new IOException("epoll_ctl: errno " + Native.getLastError());
    }
    return key;
  }

  /** Has another handler called from now on; once at once, for what came before. */
  void handle(long key, Runnable handler) {
    handlers.put(key, handler);
    execute(handler);
  }

  void forget(long key) {
    handlers.remove(key);
  }

  /** Soon, on the loop's thread. */
  void execute(Runnable task) {
    tasks.add(task);
    wake();
  }

  private synchronized void wake() {
    if (!ended) {
      byte[] one = new byte[Long.BYTES];
      ByteBuffer.wrap(one).order(ByteOrder.nativeOrder()).putLong(1);
      long ignored = write(wake, one, one.length);
    }
  }

  private void run() {
    byte[] events = new byte[EVENT_SIZE * CAPACITY];
    ByteBuffer ready = ByteBuffer.wrap(events).order(ByteOrder.nativeOrder());
    while (!closing) {
      int n = epoll_wait(epoll, events, CAPACITY, -1);
      if (n < 0 && Native.getLastError() != EINTR) {
        LOGGER.log(Level.WARNING, "epoll_wait: errno " + Native.getLastError());
        break;
      }
      for (int i = 0; i < n; i++) {
        Runnable handler = handlers.get(ready.getLong(i * EVENT_SIZE + EVENT_DATA));
        if (handler != null) {
          call(handler);
        }
      }
      for (Runnable task = tasks.poll(); task != null; task = tasks.poll()) {
        call(task);
      }
    }
    synchronized (this) {
      ended = true;
      int ignored = close(wake) + close(epoll);
    }
  }

  private static void call(Runnable what) {
    try {
      what.run();
    } catch (RuntimeException | Error e) {
      LOGGER.log(Level.WARNING, "a listener failed", e);
    }
  }

  /** Ends the thread, which is not waited for. */
  @Override
  public void close() {
    closing = true;
    wake();
  }

  private static native int epoll_create1(int flags);

  private static native int epoll_ctl(int epoll, int operation, int fd, byte[] event);

  private static native int epoll_wait(int epoll, byte[] events, int count, int milliseconds);

  private static native int eventfd(int value, int flags);

  private static native long write(int fd, byte[] bytes, long count);

  private static native int close(int fd);
}
