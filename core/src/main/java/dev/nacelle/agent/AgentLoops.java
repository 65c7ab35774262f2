// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.internal.LibraryThread;
import dev.nacelle.spi.GuestConnection;
import io.netty.channel.EventLoop;
import io.netty.util.concurrent.FastThreadLocalThread;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;

/**
 * The threads that all traffic with guests runs on. Each guest belongs to one of them. They start
 * when they are first needed and end with {@link #close()}; what comes after that has one for as
 * long as it takes.
 *
 * <p>Single event loops rather than a Netty group: a group's termination is announced by Netty's
 * global executor, whose thread outlives it.
 */
public final class AgentLoops implements AutoCloseable {
  /** A guest that has sent nothing for that long is asked for a sign of life, */
  public static final Duration SILENCE = Duration.ofSeconds(10);

  /** and has that long for it. */
  public static final Duration SIGN_OF_LIFE = Duration.ofSeconds(20);

  private final Duration silence;
  private final Duration signOfLife;
  private final List<GuestLoop> loops;
  private final AtomicInteger next = new AtomicInteger();

  /**
   * With the usual limits of silence.
   *
   * @param threads at least one
   */
  public AgentLoops(int threads) {
    this(threads, SILENCE, SIGN_OF_LIFE);
  }

  /**
   * With others.
   *
   * @param threads at least one
   * @param silence after which a guest is asked for a sign of life
   * @param signOfLife how long it has for that
   */
  public AgentLoops(int threads, Duration silence, Duration signOfLife) {
    this.silence = silence;
    this.signOfLife = signOfLife;
    AtomicInteger number = new AtomicInteger();
    // Netty's own kind of thread, which cannot be told to take nothing over: made by one that has
    // nothing, when it is first needed.
    ThreadFactory factory =
        task ->
            LibraryThread.make(
                () -> new FastThreadLocalThread(task, "nacelle-io-" + number.incrementAndGet()));
    loops = IntStream.range(0, threads).mapToObj(i -> new GuestLoop(factory)).toList();
  }

  /**
   * A client of the agent that is going to dial.
   *
   * @param dialled completes with the connection, which then belongs to the client
   */
  public AgentClient client(CompletableFuture<GuestConnection> dialled) {
    return new AgentClient(dialled, loop(), silence, signOfLife);
  }

  /** Runs something later; it must not block. */
  public Future<?> schedule(Runnable task, Duration delay) {
    return loop().schedule(task, delay.toNanos(), TimeUnit.NANOSECONDS);
  }

  /** Times what is expected of a guest that has no agent. */
  public GuestTimers timers() {
    return new GuestTimers(loop());
  }

  private EventLoop loop() {
    return loops.get(Math.floorMod(next.getAndIncrement(), loops.size()));
  }

  /**
   * Ends the threads and waits for that; clients must have been closed. Does nothing more when
   * called again.
   */
  @Override
  public void close() {
    loops.forEach(GuestLoop::end);
    loops.forEach(GuestLoop::awaitEnd);
  }
}
