// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import com.google.common.util.concurrent.Uninterruptibles;
import dev.nacelle.internal.LibraryThread;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.System.Logger.Level;
import java.nio.channels.CancelledKeyException;
import java.nio.channels.SelectableChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.time.Duration;
import java.util.Comparator;
import java.util.PriorityQueue;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * A thread that waits for sockets and runs what belongs to them: each sandbox's network lives on
 * one, and so needs no locks. It starts when it is first needed.
 */
public final class NetworkLoop implements Executor, AutoCloseable {
  private final String name;
  private final Queue<Runnable> tasks = new ConcurrentLinkedQueue<>();

  /** Of {@link #tasks}: no more than there are. */
  private final AtomicInteger count = new AtomicInteger();

  private final LoopBuffers buffers;
  private final AtomicBoolean woken = new AtomicBoolean();
  private final PriorityQueue<Timer> timers =
      new PriorityQueue<>(Comparator.comparingLong(timer -> timer.due - timer.begin));
  private final LongSupplier nanoTime;
  private final long begin;

  private @Nullable Thread thread;
  private @Nullable Selector selector;
  private volatile boolean closed;

  /** Is told of a socket's readiness, on the loop. */
  interface Handler {
    void ready(SelectionKey key);

    /**
     * It has failed at that, by a fault of ours: its socket is closed, and all that is its ends.
     */
    void faulted();
  }

  /** Something to be done later. */
  final class Timer {
    private final long begin = NetworkLoop.this.begin;
    private final long due;
    private final Runnable task;

    private Timer(long due, Runnable task) {
      this.due = due;
      this.task = task;
    }

    /** Of no effect when it was done already. On the loop. */
    void cancel() {
      timers.remove(this);
    }
  }

  /**
   * @param name of the thread
   */
  public NetworkLoop(String name) {
    this(name, new LoopBuffers(), System::nanoTime);
  }

  /**
   * @param nanoTime as {@link System#nanoTime()}
   */
  NetworkLoop(String name, LoopBuffers buffers, LongSupplier nanoTime) {
    this.name = name;
    this.buffers = buffers;
    this.nanoTime = nanoTime;
    begin = nanoTime.getAsLong();
  }

  /**
   * Runs a task soon.
   *
   * @throws RejectedExecutionException after {@link #close()}
   * @throws UncheckedIOException when the host gives no selector, as without free descriptors, or
   *     no thread
   */
  @Override
  public void execute(Runnable task) {
    Selector waiting;
    // Together with what ends it, so that none is left behind.
    synchronized (this) {
      waiting = start();
      tasks.add(task);
      count.incrementAndGet();
    }
    // On the loop nobody waits, and it looks for tasks before it does.
    if (!isCurrent() && woken.compareAndSet(false, true)) {
      waiting.wakeup();
    }
  }

  /** With the lock held. */
  private Selector start() {
    if (closed) {
      throw new RejectedExecutionException("the network has ended");
    }
    if (selector != null) {
      return selector;
    }
    Selector opened;
    try {
      opened = Selector.open();
    } catch (IOException e) {
      throw new UncheckedIOException("no selector is to be had for the network", e);
    }
    selector = opened;
    Thread starting = new LibraryThread(this::run, name);
    thread = starting;
    try {
      starting.start();
    } catch (OutOfMemoryError e) {
      selector = null;
      thread = null;
      close(opened);
      throw new UncheckedIOException("no thread is to be had for the network", new IOException(e));
    }
    return opened;
  }

  /** On the loop. */
  LoopBuffers buffers() {
    return buffers;
  }

  /** As {@link System#nanoTime()}: what timers go by. */
  long now() {
    return nanoTime.getAsLong();
  }

  boolean isCurrent() {
    return Thread.currentThread().equals(thread);
  }

  /** On the loop. */
  SelectionKey register(SelectableChannel channel, int operations, Handler handler)
      throws IOException {
    channel.configureBlocking(false);
    return channel.register(selector, operations, handler);
  }

  /** The key of a channel that was registered; null of another. On the loop. */
  @Nullable SelectionKey keyOf(SelectableChannel channel) {
    return channel.keyFor(selector);
  }

  /**
   * Serves those that are ready now, and closes the descriptors of channels that were closed, which
   * Java does when a selector has let them go. On the loop, from a task or a timer.
   */
  void serve() {
    Selector waiting = selector;
    if (waiting != null && waiting.isOpen()) {
      try {
        waiting.selectNow(this::ready);
        // It may have been woken up for a task, and that was all it would be for the next one.
        woken.set(false);
      } catch (IOException e) {
        logger().log(Level.DEBUG, "serving sockets between tasks", e);
      }
    }
  }

  /** On the loop. */
  Timer schedule(Runnable task, Duration delay) {
    Timer timer = new Timer(now() + delay.toNanos(), task);
    timers.add(timer);
    return timer;
  }

  private void run() {
    Selector waiting = selector;
    if (waiting == null) {
      return;
    }
    try {
      while (!closed) {
        select(waiting);
        woken.set(false);
        // Those that there are, and not those that they leave: sockets get their turn between.
        for (int i = count.get(); i > 0; i--) {
          Runnable task = tasks.remove();
          count.decrementAndGet();
          guarded(task);
        }
        runTimers();
      }
    } catch (IOException e) {
      logger().log(Level.WARNING, "the networks of sandboxes have ended: their sockets fail", e);
    } finally {
      synchronized (this) {
        closed = true;
      }
      for (Runnable task = tasks.poll(); task != null; task = tasks.poll()) {
        guarded(task);
      }
      close(waiting);
    }
  }

  private static void close(Selector selector) {
    try {
      selector.close();
    } catch (IOException e) {
      logger().log(Level.DEBUG, "closing a selector", e);
    }
  }

  private void select(Selector waiting) throws IOException {
    if (!tasks.isEmpty()) {
      waiting.selectNow(this::ready);
      return;
    }
    Timer first = timers.peek();
    if (first == null) {
      waiting.select(this::ready);
      return;
    }
    long millis = TimeUnit.NANOSECONDS.toMillis(first.due - now() + 999_999);
    if (millis <= 0) {
      waiting.selectNow(this::ready);
    } else {
      waiting.select(this::ready, millis);
    }
  }

  private void ready(SelectionKey key) {
    try {
      if (key.isValid()) {
        ((Handler) key.attachment()).ready(key);
      }
    } catch (CancelledKeyException e) {
      logger().log(Level.TRACE, "a socket was closed meanwhile", e);
    } catch (RuntimeException | Error e) {
      logger().log(Level.ERROR, "a sandbox's socket was not served, and is closed", e);
      guarded(((Handler) key.attachment())::faulted);
      key.cancel();
      Sockets.close(key.channel());
    }
  }

  private void runTimers() {
    // Those that are due by now, and not those that they leave: sockets get their turn between.
    long now = now();
    for (Timer first = timers.peek(); first != null; first = timers.peek()) {
      if (first.due - now > 0) {
        return;
      }
      timers.poll();
      guarded(first.task);
    }
  }

  private static void guarded(Runnable task) {
    try {
      task.run();
    } catch (RuntimeException | Error e) {
      logger().log(Level.ERROR, "a task of a sandbox's network failed", e);
    }
  }

  /**
   * Ends the thread, and waits for that; networks must have been closed. What was to be run is run.
   * Idempotent.
   */
  @Override
  public void close() {
    Thread running;
    synchronized (this) {
      closed = true;
      running = thread;
      if (selector != null) {
        selector.wakeup();
      }
    }
    if (running != null && !running.equals(Thread.currentThread())) {
      Uninterruptibles.joinUninterruptibly(running);
    }
  }

  private static System.Logger logger() {
    return System.getLogger(NetworkLoop.class.getName());
  }
}
