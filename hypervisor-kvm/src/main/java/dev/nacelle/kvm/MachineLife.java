// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.kvm.device.AttachedDevice;
import dev.nacelle.kvm.device.EventLoop;
import dev.nacelle.kvm.device.GuestFault;
import dev.nacelle.kvm.memory.GuestAddressException;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.KvmVm;
import dev.nacelle.kvm.vcpu.Vcpu;
import dev.nacelle.spi.ConsoleRing;
import dev.nacelle.spi.MachineThread;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The life of a virtual machine: of its vCPUs with a thread each, of its devices with one event
 * loop, or one of their own, and of all that it holds.
 *
 * <p>It ends once: the first reason counts. The vCPUs then leave the guest; the last one has each
 * device's event loop close it, and the machine's own complete {@link #exit()}, for which no device
 * with an event loop of its own is waited for. {@link #close} lets the event loops end; then {@link
 * Teardown} releases each device's eventfds, gives the guest's memory back, and closes KVM's
 * machine. That takes the kernel some tens of milliseconds, in which it waits for its own readers
 * (SRCU). It is done on the machine's last thread, and need not be waited for: nothing runs in it
 * any more. Until then the memory's addresses stay taken, with nothing there: KVM still knows them,
 * and where a guest had told it of an area for its stolen time, it may write to that area once more
 * (kvm_arch_destroy_vm and kvm_arch_vcpu_put in arch/x86/kvm/x86.c).
 *
 * <p>While the machine is built, its builder is inside as a vCPU is: a device that fails meanwhile
 * closes none before all of them are there. The builder adds to it and then calls {@link #built} or
 * {@link #abandon}, on one thread; all else is safe from any.
 */
final class MachineLife implements Vcpu.Listener {
  /** Made ahead, for when there is no memory to say more. */
  private static final VmExit UNDESCRIBED =
      VmExit.of(Reason.HOST_ERROR, "a failure without words for it: memory may have run out");

  /** A device and the event loop that its work is done on. */
  private record Place(AttachedDevice device, EventLoop loop) {}

  private final String name;
  private final Duration patience;
  private final Teardown teardown;
  private final List<Place> places = new ArrayList<>();
  private @Nullable ConsoleRing console;
  private final List<Vcpu> vcpus = new ArrayList<>(); // guarded by itself
  private boolean started; // guarded by vcpus

  /** vCPUs that may enter the guest, and the builder. */
  private final AtomicInteger inside = new AtomicInteger(1);

  /** One thread at a time pauses or resumes. */
  private final Object pausing = new Object();

  /** Null until it is built. */
  private volatile @Nullable MachinePause pause;

  /** Completes when none will enter the guest, and the event loop has been told to finish. */
  private final CompletableFuture<@Nullable Void> out = new CompletableFuture<>();

  private final AtomicReference<@Nullable VmExit> outcome = new AtomicReference<>();
  private final CompletableFuture<VmExit> exit = new CompletableFuture<>();
  private final Runnable finish = this::finish;
  private @Nullable EventLoop mainLoop;

  /**
   * Nothing runs and nothing is held yet.
   *
   * @param name of the machine, for messages and thread names
   * @param patience how long {@link #close} waits for threads that are stuck
   * @param unawaited a permit for each machine of KVM that {@link #close} need not wait for; shared
   * @param onReleased called once, when everything is released
   */
  MachineLife(
      String name, Duration patience, Semaphore unawaited, Consumer<MachineLife> onReleased) {
    this.name = name;
    this.patience = patience;
    teardown = new Teardown(toString(), unawaited, () -> onReleased.accept(this));
  }

  // ---- while it is built

  /**
   * Starts the machine's event loop, before anything is added. KVM's machine should be there by
   * then: a thread that starts meanwhile holds up the making of it.
   */
  void startMainLoop() {
    mainLoop = startLoop("io");
  }

  /** The machine's event loop. */
  EventLoop mainLoop() {
    return Objects.requireNonNull(mainLoop);
  }

  /** Starts another event loop; its device closes it, or who fails to make that device. */
  EventLoop startLoop(String threadName) {
    EventLoop made = new EventLoop(threadName(threadName), this::failed);
    teardown.uses(made.thread());
    var unused = made.ended().thenRun(() -> teardown.ended(made.thread()));
    return made;
  }

  /** The name of a thread of this machine. */
  String threadName(String thread) {
    return "nacelle-" + name + "-" + thread;
  }

  /** Takes over what is to be closed when no thread uses it any more, the last one first. */
  <T extends AutoCloseable> T acquire(T resource) {
    return teardown.acquire(resource);
  }

  /**
   * Memory and KVM's machine are taken over, and nothing else is. {@link #close} need not wait for
   * their end when all that is taken over from now on is closed, and the memory given back.
   */
  void givesBack(GuestMemory memory) {
    teardown.nobodyMisses(memory::giveBack);
  }

  /** Takes over a device, to be closed on its event loop when the guest has ended. */
  void add(AttachedDevice device, EventLoop itsLoop) {
    places.add(new Place(device, itsLoop));
  }

  /** Takes over the console, whose last output is handed over before {@link #exit} completes. */
  void add(ConsoleRing itsConsole) {
    console = itsConsole;
  }

  /** Has a vCPU made by its thread, which may enter the guest from then on. */
  void add(Vcpu vcpu) {
    teardown.uses(vcpu.thread());
    inside.incrementAndGet();
    try {
      vcpu.create();
    } catch (Throwable e) {
      inside.decrementAndGet();
      teardown.ended(vcpu.thread());
      throw e;
    }
    synchronized (vcpus) {
      vcpus.add(vcpu);
      if (outcome.get() != null) {
        vcpu.stop(); // a device has failed already
      }
    }
  }

  /** The builder is done. */
  void built(KvmVm vm) {
    Map<EventLoop, List<AttachedDevice>> devices = new HashMap<>();
    devices.put(mainLoop(), new ArrayList<>());
    for (Place place : places) {
      devices.computeIfAbsent(place.loop, loop -> new ArrayList<>()).add(place.device);
    }
    synchronized (vcpus) {
      pause = new MachinePause(vm, List.copyOf(vcpus), devices, () -> outcome.get() != null);
    }
    leave();
  }

  /** The builder has failed: everything ends and is released, before this returns where it can. */
  void abandon() {
    ended(VmExit.of(Reason.HOST_ERROR, "not built"));
    leave();
    closeWholly();
  }

  // ---- when it is built

  /**
   * Allows the guest to run, once.
   *
   * @throws IllegalStateException the second time, and when it has ended
   */
  void start() {
    synchronized (vcpus) {
      if (started || outcome.get() != null) {
        throw new IllegalStateException(
            "the " + this + (started ? " was started before" : " has ended"));
      }
      started = true;
    }
  }

  /** Has the guest end for this reason, unless it is ending already. */
  @Override
  public void ended(VmExit reason) {
    if (outcome.compareAndSet(null, reason)) {
      synchronized (vcpus) {
        vcpus.forEach(Vcpu::stop);
      }
      MachinePause built = pause;
      if (built != null) {
        built.end();
      }
    }
  }

  /** {@link dev.nacelle.spi.VirtualMachine#pause}. */
  void pause() {
    change(
        built -> {
          List<String> running = built.pause(System.nanoTime() + patience.toNanos());
          if (!running.isEmpty()) {
            ended(
                VmExit.of(
                    Reason.HOST_ERROR,
                    "it did not stand still within "
                        + patience.toMillis()
                        + " ms when it was to be paused: "
                        + running
                        + " did not, for the host's processors or disks are overloaded"));
          }
        });
  }

  /** {@link dev.nacelle.spi.VirtualMachine#resume}. */
  void resume() {
    change(MachinePause::resume);
  }

  private void change(Consumer<MachinePause> pace) {
    if (MachineThread.isCurrent()) {
      throw new IllegalStateException("a virtual machine's thread can pause and resume none");
    }
    synchronized (pausing) {
      MachinePause built = pause;
      synchronized (vcpus) {
        if (!started || built == null) {
          throw new IllegalStateException("the " + this + " was not started");
        }
      }
      if (outcome.get() != null) {
        return;
      }
      boolean ignored =
          teardown.use(
              () -> {
                try {
                  pace.accept(built);
                } catch (RuntimeException | Error e) {
                  failed(e);
                }
              });
    }
    VmExit reason = outcome.get();
    if (reason != null && reason.reason() == Reason.HOST_ERROR) {
      throw new HypervisorException(
          Stage.RUN,
          "the " + this + " could not be paused or resumed, and has ended: " + reason.detail(),
          null,
          null);
    }
  }

  /** Ends the guest because of what a device, a vCPU or an event loop threw. */
  @Override
  public void failed(Throwable cause) {
    VmExit reason = UNDESCRIBED;
    try {
      reason = describe(cause);
    } catch (RuntimeException | Error e) {
      // It ends all the same.
    }
    ended(reason);
  }

  private static VmExit describe(Throwable cause) {
    if (cause instanceof GuestFault || cause instanceof GuestAddressException) {
      return VmExit.of(Reason.GUEST_FAULT, String.valueOf(cause.getMessage()));
    }
    StackTraceElement[] trace = cause.getStackTrace();
    return VmExit.of(Reason.HOST_ERROR, cause + (trace.length == 0 ? "" : " at " + trace[0]));
  }

  @Override
  public void left() {
    leave();
    teardown.ended(Thread.currentThread());
  }

  /** One less that may enter the guest; after the last one, the event loop is told to finish. */
  private void leave() {
    if (inside.decrementAndGet() > 0) {
      return;
    }
    boolean accepted = false;
    try {
      accepted = mainLoop != null && mainLoop.execute(finish);
    } finally {
      if (!accepted) {
        finish();
      }
      out.complete(null);
    }
  }

  private void finish() {
    try {
      places.forEach(this::closeDevice);
      if (console != null) {
        console.deliver();
      }
    } finally {
      VmExit reason = outcome.get();
      if (reason != null) {
        exit.complete(reason);
      }
    }
  }

  private void closeDevice(Place place) {
    try {
      if (place.loop == mainLoop || !place.loop.execute(place.device::close)) {
        place.device.close();
      }
    } catch (RuntimeException | Error e) {
      // The others must be closed all the same, and the guest has ended for its own reason.
    } finally {
      if (place.loop != mainLoop) {
        place.loop.shutdown();
      }
    }
  }

  /** How the guest ended, once its devices are closed; a copy for each caller. */
  CompletableFuture<VmExit> exit() {
    return exit.copy();
  }

  /**
   * Has everything end and be released, and waits as long as its patience lasts: for its threads,
   * memory, files and eventfds. For KVM's machine and the thread that closes it only where enough
   * others are at that.
   */
  void close() {
    beginClose();
    if (mayWait()) {
      boolean ignored = teardown.awaitGivenBack(deadline(), patience);
    }
  }

  /** As {@link #close}, and waits for all of it. */
  void closeWholly() {
    beginClose();
    awaitRelease(deadline());
  }

  private long deadline() {
    return System.nanoTime() + patience.toNanos();
  }

  /** Has everything end and be released, without waiting for it. Idempotent. */
  void beginClose() {
    ended(VmExit.of(Reason.CLOSED, "the " + this + " was closed"));
    // Before the event loop may end, so that it is its thread that releases, not the caller.
    teardown.disown();
    if (mainLoop != null) {
      // Not before it was told to finish.
      var unused = out.thenRun(mainLoop::shutdown);
    }
  }

  /** Whether a thread is one of the machine's. */
  boolean has(Thread thread) {
    return teardown.had(thread);
  }

  /**
   * Waits until everything is released, or until the deadline (of {@link System#nanoTime}). Not at
   * all on a machine's thread, which would wait for its own end, or for another that waits for it.
   */
  void awaitRelease(long deadline) {
    if (mayWait()) {
      boolean ignored = teardown.awaitReleased(deadline, patience);
    }
  }

  private static boolean mayWait() {
    return !MachineThread.isCurrent();
  }

  @Override
  public String toString() {
    return "virtual machine " + name;
  }
}
