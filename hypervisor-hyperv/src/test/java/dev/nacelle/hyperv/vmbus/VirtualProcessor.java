// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.vmbus;

import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.kvm.boot.InitialState;
import dev.nacelle.kvm.cpu.CpuidPolicy;
import dev.nacelle.kvm.device.PortBus;
import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.HypervInterface;
import dev.nacelle.kvm.sys.KvmRegs;
import dev.nacelle.kvm.sys.KvmRun;
import dev.nacelle.kvm.sys.KvmSregs;
import dev.nacelle.kvm.sys.KvmVcpu;
import dev.nacelle.kvm.sys.ThreadSignal;
import dev.nacelle.spi.MachineThread;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/** A vCPU with a SynIC, and its thread. */
final class VirtualProcessor {
  private static final int MTRR_DEF_TYPE = 0x2ff;
  private static final int MTRR_ENABLED_WRITE_BACK = 1 << 11 | 6;

  private static final int SYSTEM_EVENT_CRASH = 3;

  // Call codes of hypercalls, in the low 16 bits of their input (TLFS appendix A).
  private static final int HV_POST_MESSAGE = 0x5c;
  private static final int HV_SIGNAL_EVENT = 0x5d;

  private final Partition partition;
  private final int id;
  private final int cpus;
  private final CpuidPolicy cpuid;
  private final PortBus ports;
  private final MachineThread thread;
  private final CompletableFuture<@Nullable Void> created = new CompletableFuture<>();
  private volatile boolean stopped;
  private volatile long messagePage;
  private volatile long eventPage;
  private int signalTarget; // guarded by this
  private boolean started; // guarded by this
  private @Nullable InitialState initialState; // guarded by this

  VirtualProcessor(
      Partition partition, String name, int id, int cpus, CpuidPolicy cpuid, PortBus ports) {
    this.partition = partition;
    this.id = id;
    this.cpus = cpus;
    this.cpuid = cpuid;
    this.ports = ports;
    thread = new MachineThread(this::live, "nacelle-" + name + "-vcpu" + id);
    thread.start();
  }

  void awaitCreated() {
    created.join();
  }

  synchronized void startIn(InitialState state) {
    initialState = state;
  }

  synchronized void start() {
    started = true;
    notifyAll();
  }

  synchronized void stop() {
    stopped = true;
    notifyAll();
    if (signalTarget != 0) {
      ThreadSignal.send(signalTarget);
    }
  }

  void awaitEnd() {
    Threads.join(thread);
  }

  /** The register SIMP (TLFS section 11.8.4), of which bit 0 says whether it is enabled. */
  long messagePage() {
    return messagePage;
  }

  /** The register SIEFP (section 11.8.3), likewise. */
  long eventPage() {
    return eventPage;
  }

  private void live() {
    try (KvmVcpu kvm = partition.vm().createVcpu(id)) {
      HypervInterface.enableSynic(kvm);
      kvm.set(Enlightenments.in(cpuid.forVcpu(id, cpus)));
      boolean ignored = kvm.setMsr(MTRR_DEF_TYPE, MTRR_ENABLED_WRITE_BACK);
      kvm.setSignalMask(ThreadSignal.block());
      synchronized (this) {
        signalTarget = ThreadSignal.currentThread();
      }
      created.complete(null);
      awaitStart(kvm);
      while (!stopped) {
        int errno = kvm.enter();
        if (errno == 0) {
          answer(kvm.run());
        } else if (errno != Errno.EINTR && errno != Errno.EAGAIN) {
          fail("KVM_RUN: " + Errno.describe(errno));
        }
      }
    } catch (Throwable e) {
      if (!created.completeExceptionally(e)) {
        fail(e + " at " + e.getStackTrace()[0]);
      }
    } finally {
      synchronized (this) {
        signalTarget = 0;
      }
      ThreadSignal.drain();
      partition.left();
    }
  }

  private void fail(String why) {
    partition.fail("vCPU " + id + ": " + why);
  }

  private void awaitStart(KvmVcpu kvm) throws InterruptedException {
    InitialState state;
    synchronized (this) {
      while (!started && !stopped) {
        wait();
      }
      state = initialState;
    }
    if (state != null && !stopped) {
      KvmRegs regs = new KvmRegs();
      KvmSregs sregs = new KvmSregs();
      kvm.get(sregs);
      state.apply(regs, sregs);
      kvm.set(sregs);
      kvm.set(regs);
    }
  }

  private void answer(ByteBuffer run) {
    int reason = run.getInt(KvmRun.EXIT_REASON);
    switch (reason) {
      case KvmRun.EXIT_IO -> answerPort(run);
      case KvmRun.EXIT_MMIO -> run.putLong(KvmRun.MMIO_DATA, -1);
      case KvmRun.EXIT_INTR -> {}
      case HypervInterface.EXIT_HYPERV -> answerHypervisor(run);
      case KvmRun.EXIT_SHUTDOWN ->
          partition.end(VmExit.of(Reason.CRASHED, "vCPU " + id + " had a triple fault"));
      case KvmRun.EXIT_SYSTEM_EVENT -> {
        int event = run.getInt(KvmRun.SYSTEM_EVENT_TYPE);
        // A panic is told by the crash registers (TLFS section 10.8), and goes on to the reset.
        if (event != SYSTEM_EVENT_CRASH) {
          partition.end(VmExit.of(Reason.RESET, "system event " + event));
        }
      }
      default -> fail("exit for reason " + reason);
    }
  }

  private void answerPort(ByteBuffer run) {
    int size = run.get(KvmRun.IO_SIZE);
    int port = Short.toUnsignedInt(run.getShort(KvmRun.IO_PORT));
    int data = (int) run.getLong(KvmRun.IO_DATA_OFFSET);
    int end = data + size * run.getInt(KvmRun.IO_COUNT);
    for (int at = data; at < end; at += size) {
      if (run.get(KvmRun.IO_DIRECTION) == KvmRun.IO_OUT) {
        int value = 0;
        for (int b = size - 1; b >= 0; b--) {
          value = value << 8 | run.get(at + b) & 0xff;
        }
        ports.write(port, size, value);
      } else {
        int value = ports.read(port, size);
        for (int b = 0; b < size; b++) {
          run.put(at + b, (byte) (value >>> 8 * b));
        }
      }
    }
  }

  private void answerHypervisor(ByteBuffer run) {
    switch (run.getInt(HypervInterface.TYPE)) {
      case HypervInterface.TYPE_SYNIC -> {
        messagePage = run.getLong(HypervInterface.SYNIC_MESSAGE_PAGE);
        eventPage = run.getLong(HypervInterface.SYNIC_EVENT_PAGE);
      }
      case HypervInterface.TYPE_HYPERCALL -> {
        long parameter = run.getLong(HypervInterface.HYPERCALL_PARAMETER);
        int status =
            switch ((int) run.getLong(HypervInterface.HYPERCALL_INPUT) & 0xffff) {
              case HV_POST_MESSAGE -> postMessage(parameter);
              case HV_SIGNAL_EVENT -> partition.host().signalled((int) parameter);
              default -> Partition.INVALID_HYPERCALL_CODE;
            };
        run.putLong(HypervInterface.HYPERCALL_RESULT, status);
      }
      default -> fail("an exit of Hyper-V's interface that was not asked for");
    }
  }

  /** struct hv_input_post_message: connection, type at 8, size of the payload at 12, payload. */
  private int postMessage(long input) {
    if (partition.memory().getInt(input + 8) != Vmbus.MESSAGE_TYPE) {
      return Partition.INVALID_HYPERCALL_CODE;
    }
    byte[] payload = new byte[partition.memory().getInt(input + 12)];
    partition.memory().getBytes(input + 16, payload, 0, payload.length);
    return partition.host().posted(partition.memory().getInt(input), payload);
  }
}
