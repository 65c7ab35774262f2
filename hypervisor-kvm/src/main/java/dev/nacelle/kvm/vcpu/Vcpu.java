// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.vcpu;

import dev.nacelle.VmExit;
import dev.nacelle.kvm.boot.InitialState;
import dev.nacelle.kvm.cpu.CpuidPolicy;
import dev.nacelle.kvm.device.MmioBus;
import dev.nacelle.kvm.device.PortBus;
import dev.nacelle.kvm.sys.CpuTimer;
import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.KvmRegs;
import dev.nacelle.kvm.sys.KvmRun;
import dev.nacelle.kvm.sys.KvmSregs;
import dev.nacelle.kvm.sys.KvmVcpu;
import dev.nacelle.kvm.sys.KvmVm;
import dev.nacelle.kvm.sys.Niceness;
import dev.nacelle.kvm.sys.ThreadClock;
import dev.nacelle.kvm.sys.ThreadSignal;
import dev.nacelle.spi.MachineThread;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * A virtual processor and the thread that creates, runs and destroys it. The thread answers each
 * exit from the buses until the guest ends or {@link #stop} is called. That allocates nothing, but
 * for console output while somebody listens: a listener's array is its own.
 */
public final class Vcpu {
  /** What a vCPU tells its machine; called on its thread. */
  public interface Listener {
    /** The guest has ended. Other vCPUs may have said so before. */
    void ended(VmExit exit);

    /** Something was thrown. */
    void failed(Throwable cause);

    /**
     * The vCPU will not enter the guest again, and is closed; called once, as the last thing that
     * its thread does.
     */
    void left();
  }

  /** IA32_MTRR_DEF_TYPE (Intel SDM volume 3, section 12.11.2.1): on, all memory write back. */
  private static final int MTRR_DEF_TYPE = 0x2ff;

  private static final int MTRR_ENABLED_WRITE_BACK = 1 << 11 | 6;

  /**
   * IA32_MISC_ENABLE (Intel SDM volume 4, table 2-2): fast strings, as firmware leaves it, without
   * which Linux copies with loops; no branch trace store and no precise event sampling, which is
   * what KVM starts with.
   */
  private static final int MISC_ENABLE = 0x1a0;

  private static final int FAST_STRINGS = 1;
  private static final int NO_TRACE_NO_SAMPLING = 1 << 11 | 1 << 12;

  /**
   * How long a vCPU rests after it has locked the memory bus, by an atomic operation across two
   * cache lines: every core of the host waits for each for a microsecond or so, which then is a
   * thousandth of the time. Compilers align what is atomic, so that hardly a program does it.
   */
  private static final long BUS_LOCK_REST_NANOS = 1_000_000;

  private final int id;
  private final KvmVm vm;
  private final int vcpus;
  private final CpuidPolicy cpuid;
  private final boolean enforceKvmFeatures;
  private final @Nullable CoreGroup cores;
  private final @Nullable CpuQuota quota;
  private final int niceness;
  private final PortBus ports;
  private final MmioBus mmio;
  private final Listener listener;
  private final ExitCounters counters = new ExitCounters();
  private final CompletableFuture<@Nullable Void> ready = new CompletableFuture<>();
  private final Thread thread;

  /** IA32_TIME_STAMP_COUNTER and IA32_TSC_DEADLINE (Intel SDM volume 4, table 2-2). */
  private static final int TSC = 0x10;

  private static final int TSC_DEADLINE = 0x6e0;

  private volatile boolean stopped;
  private volatile boolean paused;

  /** While the thread rests in a pause; what is done with it is done with this locked. */
  private @Nullable KvmVcpu resting;

  /** Its timer of the time stamp counter, while it rests; 0 for none. */
  private long deadline;

  private boolean left; // guarded by this
  private volatile OptionalLong firstRun = OptionalLong.empty();

  /** The thread for {@link ThreadSignal}, or 0 while it cannot be signalled; guarded by this. */
  private int signalTarget;

  private long cpuNanosAtTheEnd; // guarded by this
  private boolean started; // guarded by this
  private @Nullable InitialState initialState; // guarded by this

  /**
   * Prepares it; {@link #create} makes it.
   *
   * @param id its number, from 0
   * @param threadName of its thread
   * @param vcpus how many the machine has
   * @param enforceKvmFeatures whether this KVM can be told to
   * @param cores what it belongs to while it runs the guest; null without core scheduling
   * @param quota of the machine's CPU time; null for none
   * @param niceness how much its thread gives way to others
   */
  public Vcpu(
      int id,
      String threadName,
      KvmVm vm,
      int vcpus,
      CpuidPolicy cpuid,
      boolean enforceKvmFeatures,
      @Nullable CoreGroup cores,
      @Nullable CpuQuota quota,
      int niceness,
      PortBus ports,
      MmioBus mmio,
      Listener listener) {
    this.id = id;
    this.vm = vm;
    this.vcpus = vcpus;
    this.cpuid = cpuid;
    this.enforceKvmFeatures = enforceKvmFeatures;
    this.cores = cores;
    this.quota = quota;
    this.niceness = niceness;
    this.ports = ports;
    this.mmio = mmio;
    this.listener = listener;
    thread = new MachineThread(this::live, threadName);
  }

  /** Starts the thread, which creates the vCPU and then waits for {@link #start}. */
  public void create() {
    thread.start();
  }

  /** Waits until the vCPU exists, and throws what kept it from that. */
  public void awaitCreated() {
    try {
      ready.join();
    } catch (CompletionException e) {
      if (e.getCause() instanceof RuntimeException cause) {
        throw cause;
      }
      throw e;
    }
  }

  /**
   * Enters the guest.
   *
   * @param state of the first vCPU; null for the others, which wait for its signal (INIT, SIPI)
   */
  public synchronized void start(@Nullable InitialState state) {
    started = true;
    initialState = state;
    notifyAll();
  }

  /** Has the thread leave the guest, and end. Idempotent, safe from any thread, does not wait. */
  public synchronized void stop() {
    stopped = true;
    notifyAll();
    if (signalTarget != 0) {
      ThreadSignal.send(signalTarget);
    }
  }

  /**
   * Has the thread leave the guest, and rest until {@link #resume}. Idempotent, safe from any
   * thread, does not wait.
   */
  public synchronized void pause() {
    paused = true;
    KvmVcpu kvm = resting;
    if (kvm != null) {
      stopTimer(kvm); // it has not woken up since the last time
    } else if (signalTarget != 0) {
      ThreadSignal.send(signalTarget);
      notifyAll(); // it may wait for its quota, outside of the guest
    }
  }

  /**
   * Waits until its thread rests, or is to end.
   *
   * @param deadline of {@link System#nanoTime}
   * @return false when it does not until then
   */
  public synchronized boolean awaitRest(long deadline) throws InterruptedException {
    while (resting == null && !left && !stopped) {
      long millis = TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime());
      if (millis <= 0) {
        return false;
      }
      wait(millis);
    }
    return true;
  }

  /** While it rests: what its time stamp counter tells; empty when it does not. */
  public synchronized OptionalLong tsc() {
    KvmVcpu kvm = resting;
    return kvm == null ? OptionalLong.empty() : kvm.getMsr(TSC);
  }

  /**
   * While it rests: has its clocks tell less, its timer go by them, and the guest know that it did
   * not run. Of no effect when it does not rest.
   *
   * @param ticks of its time stamp counter
   */
  public synchronized void turnBack(long ticks) {
    KvmVcpu kvm = resting;
    if (kvm != null) {
      boolean ignored = kvm.turnBackTsc(ticks);
      if (deadline != 0) {
        ignored = kvm.setMsr(TSC_DEADLINE, deadline);
      }
      kvm.tellOfPause();
    }
  }

  /** Has it enter the guest again. Idempotent, safe from any thread. */
  public synchronized void resume() {
    paused = false;
    notifyAll();
  }

  /** Its thread. */
  public Thread thread() {
    return thread;
  }

  /** {@link System#nanoTime} just before it first entered the guest; empty before that. */
  public OptionalLong firstRunNanoTime() {
    return firstRun;
  }

  /** CPU time of the host that it has taken, in nanoseconds. */
  public synchronized long cpuNanos() {
    return signalTarget == 0 ? cpuNanosAtTheEnd : ThreadClock.cpuNanos(signalTarget);
  }

  /** Adds this vCPU's exits by reason to those in a map. */
  public void addExits(Map<String, Long> sums) {
    counters.addTo(sums);
  }

  private void live() {
    try (KvmVcpu kvm = vm.createVcpu(id)) {
      configure(kvm);
      ready.complete(null);
      if (awaitStart(kvm)) {
        runInGroup(kvm);
      }
    } catch (Throwable e) {
      if (!ready.completeExceptionally(e)) {
        listener.failed(e);
      }
    } finally {
      try {
        synchronized (this) {
          // Also of one that never ran the guest: what it took to make it.
          cpuNanosAtTheEnd = cpuNanos();
          signalTarget = 0;
          left = true;
          notifyAll();
        }
        ThreadSignal.drain();
      } finally {
        listener.left();
      }
    }
  }

  private void configure(KvmVcpu kvm) {
    if (enforceKvmFeatures) {
      kvm.enforceKvmFeatures();
    }
    // First: which MSRs there are, and what they may hold, depends on CPUID.
    kvm.set(cpuid.forVcpu(id, vcpus));
    // Each makes the guest faster; where a KVM has none of it, the guest runs all the same.
    boolean ignored = kvm.setMsr(MTRR_DEF_TYPE, MTRR_ENABLED_WRITE_BACK);
    ignored = kvm.setMsr(MISC_ENABLE, FAST_STRINGS | NO_TRACE_NO_SAMPLING);
    kvm.setSignalMask(ThreadSignal.block());
    synchronized (this) {
      signalTarget = ThreadSignal.currentThread();
    }
  }

  /** False when it shall end without having run. */
  private boolean awaitStart(KvmVcpu kvm) throws InterruptedException {
    InitialState state;
    synchronized (this) {
      while (!started && !stopped) {
        wait();
      }
      state = initialState;
    }
    if (stopped) {
      return false;
    }
    if (state != null) {
      KvmRegs regs = new KvmRegs();
      KvmSregs sregs = new KvmSregs();
      kvm.get(sregs);
      state.apply(regs, sregs);
      kvm.set(sregs);
      kvm.set(regs);
    }
    return true;
  }

  private void runInGroup(KvmVcpu kvm) throws InterruptedException {
    if (niceness > 0) {
      Niceness.add(niceness);
    }
    if (cores != null) {
      cores.join();
    }
    try {
      firstRun = OptionalLong.of(System.nanoTime());
      if (quota == null) {
        run(kvm);
      } else {
        runWithin(quota, kvm);
      }
    } finally {
      if (cores != null) {
        cores.leave();
      }
    }
  }

  /** The same, a slice of the quota after the other. */
  private void runWithin(CpuQuota quota, KvmVcpu kvm) throws InterruptedException {
    try (CpuTimer timer = new CpuTimer()) {
      long sliceEnd = timer.cpuNanos();
      while (!stopped) {
        if (paused) {
          rest(kvm);
          continue;
        }
        long had = timer.cpuNanos();
        if (had >= sliceEnd) {
          quota.owe(had - sliceEnd);
          long slice = quota.take(System.nanoTime());
          if (slice <= 0) {
            sliceEnd = had;
            awaitPeriod(-slice);
            continue;
          }
          sliceEnd = had + slice;
          timer.set(sliceEnd);
        }
        if (!runUntilKicked(kvm)) {
          return;
        }
      }
    }
  }

  /** Waits for that long, or for a pause, or the end. */
  private synchronized void awaitPeriod(long nanos) throws InterruptedException {
    long end = System.nanoTime() + nanos;
    for (long left = nanos; left > 0 && !stopped && !paused; left = end - System.nanoTime()) {
      TimeUnit.NANOSECONDS.timedWait(this, left);
    }
  }

  private void run(KvmVcpu kvm) throws InterruptedException {
    boolean goesOn = true;
    while (goesOn && !stopped) {
      goesOn = runUntilKicked(kvm);
    }
  }

  /** Runs the guest until its thread is signalled; false when it has ended. */
  private boolean runUntilKicked(KvmVcpu kvm) throws InterruptedException {
    ByteBuffer run = kvm.run();
    while (!stopped) {
      if (paused) {
        rest(kvm);
        continue;
      }
      int errno = kvm.enter();
      if (errno == 0) {
        answer(kvm, run);
        if ((run.getShort(KvmRun.FLAGS) & KvmRun.BUS_LOCK) != 0) {
          LockSupport.parkNanos(this, BUS_LOCK_REST_NANOS);
        }
      } else if (errno == Errno.EINTR) {
        takeKick();
        return true;
      } else if (errno != Errno.EAGAIN) {
        // EAGAIN: a vCPU that waited for its start.
        listener.ended(Exits.describeFailure(errno, id, kvm));
        return false;
      }
    }
    return true;
  }

  /**
   * Takes the signal where it was a kick, not one of somebody else's: it would end every KVM_RUN.
   * Who kicks says why before, and both with this locked, so whoever looks afterwards knows.
   */
  private synchronized void takeKick() {
    ThreadSignal.drain();
  }

  /** An exit that was answered and that KVM has not finished is finished by the next KVM_RUN. */
  private synchronized void rest(KvmVcpu kvm) throws InterruptedException {
    if (!paused) {
      return;
    }
    stopTimer(kvm);
    resting = kvm;
    notifyAll();
    while (paused && !stopped) {
      wait();
    }
    resting = null;
  }

  /** The host's time goes on: it would fire for what the guest has not lived through. */
  private void stopTimer(KvmVcpu kvm) {
    deadline = kvm.getMsr(TSC_DEADLINE).orElse(0);
    if (deadline != 0) {
      boolean ignored = kvm.setMsr(TSC_DEADLINE, 0);
    }
  }

  private void answer(KvmVcpu kvm, ByteBuffer run) {
    int reason = run.getInt(KvmRun.EXIT_REASON);
    switch (reason) {
      case KvmRun.EXIT_IO -> answerPort(run);
      case KvmRun.EXIT_MMIO -> answerMmio(run);
      case KvmRun.EXIT_BUS_LOCK -> counters.countReason(reason);
      default -> {
        counters.countReason(reason);
        if (reason != KvmRun.EXIT_INTR) {
          listener.ended(Exits.describe(reason, id, kvm));
        }
      }
    }
  }

  /** IN, OUT, INS and OUTS: {@code count} items of {@code size} bytes each. */
  private void answerPort(ByteBuffer run) {
    boolean write = run.get(KvmRun.IO_DIRECTION) == KvmRun.IO_OUT;
    int size = run.get(KvmRun.IO_SIZE);
    int port = Short.toUnsignedInt(run.getShort(KvmRun.IO_PORT));
    int count = run.getInt(KvmRun.IO_COUNT);
    int data = (int) run.getLong(KvmRun.IO_DATA_OFFSET);
    counters.countPort(port, write);
    for (int i = 0; i < count; i++, data += size) {
      if (write) {
        ports.write(port, size, (int) getData(run, data, size));
      } else {
        putData(run, data, size, ports.read(port, size));
      }
    }
  }

  private void answerMmio(ByteBuffer run) {
    long address = run.getLong(KvmRun.MMIO_ADDRESS);
    int size = run.getInt(KvmRun.MMIO_LENGTH);
    boolean write = run.get(KvmRun.MMIO_IS_WRITE) != 0;
    counters.countMmio(address, write);
    if (write) {
      mmio.write(address, size, getData(run, KvmRun.MMIO_DATA, size));
    } else {
      putData(run, KvmRun.MMIO_DATA, size, mmio.read(address, size));
    }
  }

  private static long getData(ByteBuffer run, int at, int size) {
    return switch (size) {
      case 1 -> run.get(at) & 0xffL;
      case 2 -> run.getShort(at) & 0xffffL;
      case 4 -> run.getInt(at) & 0xffff_ffffL;
      default -> run.getLong(at);
    };
  }

  private static void putData(ByteBuffer run, int at, int size, long value) {
    switch (size) {
      case 1 -> run.put(at, (byte) value);
      case 2 -> run.putShort(at, (short) value);
      case 4 -> run.putInt(at, (int) value);
      default -> run.putLong(at, value);
    }
  }
}
