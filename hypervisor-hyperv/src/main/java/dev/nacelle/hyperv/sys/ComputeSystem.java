// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import com.sun.jna.Memory;
import com.sun.jna.Pointer;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A machine of the Host Compute Service. Safe for use from several threads; calls wait for their
 * result, for {@link HcsLimits#call()} at most. An interrupt does not end them: terminating the
 * machine does.
 *
 * <p>No call is made once it is closed, nor is it closed under one that runs.
 */
public final class ComputeSystem implements AutoCloseable {
  /** Closed, but for what the service had not finished: that is seen to when another is made. */
  private static final Queue<ComputeSystem> LEFT = new ConcurrentLinkedQueue<>();

  private final String id;
  private final HcsLimits limits;
  private final boolean owned;
  private final Pointer handle;
  private final SystemEvents events;
  private final CountDownLatch end;
  private final EndReceiver receiver;
  private final CallGate gate = new CallGate();

  /** What was started and has not ended in time. */
  private final List<HcsOperation> unfinished = new CopyOnWriteArrayList<>();

  /** Whether its end will be told. */
  private boolean listening;

  private boolean released;

  private ComputeSystem(
      String id, HcsLimits limits, boolean owned, Pointer handle, EndReceiver receiver) {
    this.id = id;
    this.limits = limits;
    this.owned = owned;
    this.handle = handle;
    this.receiver = receiver;
    this.end = receiver.latch;
    this.events = new SystemEvents(receiver);
  }

  /** Knows nothing of the machine, whose first event may come before the machine is known. */
  private static final class EndReceiver implements Consumer<HcsEvent> {
    private final Consumer<HcsEvent> listener;
    private final CountDownLatch latch = new CountDownLatch(1);
    private volatile @Nullable HcsEvent end;

    EndReceiver(Consumer<HcsEvent> listener) {
      this.listener = listener;
    }

    @Override
    public void accept(HcsEvent event) {
      if (event.isEnd() && latch.getCount() > 0) {
        end = event;
        latch.countDown();
      }
      listener.accept(event);
    }
  }

  /**
   * Makes a machine, which is not started yet. It ends when it is closed.
   *
   * @param id its name, which no other machine of this host has
   * @param document its ComputeSystem document
   * @param listener is told what happens to it, on a thread of the service that it must not keep;
   *     what it throws is logged
   * @throws HcsException when it cannot be made; nothing is left of it
   */
  public static ComputeSystem create(
      String id, String document, Consumer<HcsEvent> listener, HcsLimits limits) {
    LEFT.removeIf(ComputeSystem::releaseLeft);
    String call = "HcsCreateComputeSystem " + id;
    Memory idString = WideString.of(id);
    Memory configuration = WideString.of(document);
    Memory out = WideString.out();
    HcsOperation operation = HcsOperation.create(idString, configuration);
    try {
      operation.start(
          call,
          started ->
              ComputeCore.HcsCreateComputeSystem(idString, configuration, started, null, out));
    } catch (HcsException e) {
      operation.close();
      throw e;
    }
    ComputeSystem system =
        new ComputeSystem(id, limits, true, out.getPointer(0), new EndReceiver(listener));
    HcsOperation.Result result = operation.await(limits.call());
    if (!result.hasEnded()) {
      system.unfinished.add(operation);
      system.close();
      throw new HcsException(call, result.code(), result.document());
    }
    operation.close();
    if (HResult.isFailure(result.code())) {
      system.release();
      throw new HcsException(call, result.code(), result.document());
    }
    system.listen();
    return system;
  }

  /**
   * Opens a machine that somebody made, such as a process that was killed. Closing it leaves it as
   * it is.
   *
   * @throws HcsException when there is none, or this user may not
   */
  public static ComputeSystem open(String id, HcsLimits limits) {
    Memory out = WideString.out();
    int code = ComputeCore.HcsOpenComputeSystem(WideString.of(id), ComputeCore.GENERIC_ALL, out);
    if (HResult.isFailure(code)) {
      throw new HcsException("HcsOpenComputeSystem " + id, code, null);
    }
    ComputeSystem system =
        new ComputeSystem(id, limits, false, out.getPointer(0), new EndReceiver(event -> {}));
    system.listen();
    return system;
  }

  /** Before it is started, or its end could come first. */
  private void listen() {
    int code = events.register(handle);
    if (HResult.isFailure(code)) {
      close();
      throw new HcsException("HcsSetComputeSystemCallback " + id, code, null);
    }
    synchronized (this) {
      listening = true;
    }
  }

  /** Its name. */
  public String id() {
    return id;
  }

  /**
   * Starts it: returns when its first instruction can run.
   *
   * @throws HcsException when it does not start, or the time was over
   * @throws IllegalStateException when it is closed; so do the others
   */
  public void start() {
    call("HcsStartComputeSystem", null, ComputeCore::HcsStartComputeSystem);
  }

  /**
   * Stops its processors; waits {@link HcsLimits#pace()} for it at most.
   *
   * @param options a PauseOptions document, or null for none
   */
  public void pause(@Nullable String options) {
    call("HcsPauseComputeSystem", options, limits.pace(), ComputeCore::HcsPauseComputeSystem);
  }

  /** Lets them run again; waits as {@link #pause} does. */
  public void resume() {
    call("HcsResumeComputeSystem", null, limits.pace(), ComputeCore::HcsResumeComputeSystem);
  }

  /** Writes its state to a file, while it is paused. */
  public void save(String options) {
    call("HcsSaveComputeSystem", options, ComputeCore::HcsSaveComputeSystem);
  }

  /** What the service knows of it, as JSON; without a query the basic things. */
  public String properties(@Nullable String query) {
    String properties =
        call("HcsGetComputeSystemProperties", query, ComputeCore::HcsGetComputeSystemProperties);
    return properties == null ? "{}" : properties;
  }

  /** Changes it while it runs. */
  public void modify(String request) {
    call(
        "HcsModifyComputeSystem",
        request,
        (system, operation, document) ->
            ComputeCore.HcsModifyComputeSystem(
                system, operation, Objects.requireNonNull(document), null));
  }

  /**
   * Ends it by force. One that has ended is left alone. {@link #awaitEnd} tells when it is over.
   */
  public void terminate() {
    try {
      call("HcsTerminateComputeSystem", null, ComputeCore::HcsTerminateComputeSystem);
    } catch (HcsException e) {
      if (!hasEnded(e)) {
        throw e;
      }
    }
  }

  /**
   * Ends it by force, as {@link #close} does, and waits for its end, for {@link
   * HcsLimits#teardown()} each. Does not throw because of what the service answers, which the log
   * tells.
   *
   * @throws IllegalStateException when it is closed
   */
  public void endNow() {
    gate.enter(id);
    try {
      if (terminateQuietly()) {
        awaitEndUninterruptibly();
      }
    } finally {
      gate.leave();
    }
  }

  /** OPERATION_PENDING: somebody else is ending it. */
  private static boolean hasEnded(HcsException failure) {
    HResult result = failure.result();
    return result == HResult.HCS_E_SYSTEM_ALREADY_STOPPED
        || result == HResult.HCS_E_SYSTEM_NOT_FOUND
        || result == HResult.HCS_E_OPERATION_PENDING;
  }

  /** A function of three parameters, the last of them a document. */
  @FunctionalInterface
  private interface Function {
    int call(Pointer system, Pointer operation, @Nullable Pointer document);
  }

  private @Nullable String call(String name, @Nullable String document, Function function) {
    return call(name, document, limits.call(), function);
  }

  private @Nullable String call(
      String name, @Nullable String document, Duration limit, Function function) {
    gate.enter(id);
    try {
      return run(name, document, limit, function);
    } finally {
      gate.leave();
    }
  }

  private @Nullable String run(
      String name, @Nullable String document, Duration limit, Function function) {
    Memory string = WideString.ofNullable(document);
    return HcsOperation.run(
        name + " " + id,
        limit,
        string,
        unfinished::add,
        operation -> function.call(handle, operation, string));
  }

  /** How it ended; empty as long as it has not. */
  public Optional<HcsEvent> end() {
    return Optional.ofNullable(receiver.end);
  }

  /**
   * Waits for its end.
   *
   * @return false when the time was over
   */
  public boolean awaitEnd(Duration limit) throws InterruptedException {
    return end.await(limit.toNanos(), TimeUnit.NANOSECONDS);
  }

  /**
   * Closes it, after having ended it if it was {@linkplain #create made} here. Idempotent;
   * concurrent calls wait for it. Does not throw because of what the service answers.
   *
   * <p>Takes a few times {@link HcsLimits#teardown()} at most. What the service has not finished by
   * then keeps the handle open, which the log tells, until it is closed again or another machine
   * {@linkplain #create made}: closing the handle under a call would end the process.
   *
   * @throws IllegalStateException on a thread that delivers an event, which closing waits for
   */
  @Override
  public void close() {
    if (SystemEvents.isDelivering()) {
      throw new IllegalStateException("closed by the thread that delivers its events: " + id);
    }
    gate.shut();
    synchronized (this) {
      if (!released) {
        endAndRelease();
      }
    }
  }

  private void endAndRelease() {
    if (owned && receiver.end == null && terminateQuietly() && listening) {
      awaitEndUninterruptibly();
    }
    if (!releaseIfFinished(limits.teardown())) {
      if (!LEFT.contains(this)) {
        LEFT.add(this);
      }
      logger()
          .log(
              System.Logger.Level.WARNING,
              "The service has not finished with the machine " + id + ": its handle stays open");
    }
  }

  /** Returns whether its end is still to come. */
  private boolean terminateQuietly() {
    try {
      run(
          "HcsTerminateComputeSystem",
          null,
          limits.teardown(),
          ComputeCore::HcsTerminateComputeSystem);
      return true;
    } catch (HcsException e) {
      HResult result = e.result();
      if (!hasEnded(e)) {
        logger().log(System.Logger.Level.WARNING, "The machine " + id + " was not ended", e);
      }
      return result == HResult.HCS_E_OPERATION_PENDING || result == HResult.HCS_E_OPERATION_TIMEOUT;
    }
  }

  private void awaitEndUninterruptibly() {
    boolean interrupted = false;
    long deadline = System.nanoTime() + limits.teardown().toNanos();
    while (true) {
      try {
        boolean ignored = end.await(deadline - System.nanoTime(), TimeUnit.NANOSECONDS);
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private synchronized boolean releaseLeft() {
    return released || releaseIfFinished(Duration.ZERO);
  }

  /** Returns whether it is released. */
  private boolean releaseIfFinished(Duration limit) {
    if (!gate.awaitEmpty(limit) || !finishAll(limit)) {
      return false;
    }
    release();
    return true;
  }

  private boolean finishAll(Duration limit) {
    long deadline = System.nanoTime() + limit.toNanos();
    unfinished.removeIf(
        operation -> operation.closeIfEnded(Duration.ofNanos(deadline - System.nanoTime())));
    return unfinished.isEmpty();
  }

  private void release() {
    released = true;
    // Returns when no event is being delivered any more.
    ComputeCore.HcsCloseComputeSystem(handle);
    events.forget();
  }

  @Override
  public String toString() {
    return id;
  }

  private static System.Logger logger() {
    return System.getLogger(ComputeSystem.class.getName());
  }
}
