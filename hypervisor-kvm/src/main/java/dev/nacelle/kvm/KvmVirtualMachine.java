// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.kvm.boot.InitialState;
import dev.nacelle.kvm.boot.MachineLayout;
import dev.nacelle.kvm.boot.Payload.Hardware;
import dev.nacelle.kvm.device.AttachedDevice;
import dev.nacelle.kvm.device.ConsoleRing;
import dev.nacelle.kvm.device.EventLoop;
import dev.nacelle.kvm.device.ExitPort;
import dev.nacelle.kvm.device.GuestFault;
import dev.nacelle.kvm.device.I8042;
import dev.nacelle.kvm.device.MmioBus;
import dev.nacelle.kvm.device.PortBus;
import dev.nacelle.kvm.device.PowerControl;
import dev.nacelle.kvm.device.Rtc;
import dev.nacelle.kvm.device.Serial;
import dev.nacelle.kvm.device.virtio.vsock.VsockDevice;
import dev.nacelle.kvm.memory.GuestAddressException;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.Capability;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.kvm.sys.KvmVm;
import dev.nacelle.kvm.vcpu.CpuidPolicy;
import dev.nacelle.kvm.vcpu.Vcpu;
import dev.nacelle.spi.Console;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.RateLimit;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmExit;
import dev.nacelle.spi.VmExit.Reason;
import dev.nacelle.spi.VmStatistics;
import java.lang.System.Logger.Level;
import java.time.InstantSource;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A virtual machine: its memory, its vCPUs with a thread each, its devices with one event loop, put
 * together, ended and taken apart.
 *
 * <p>It ends once: the first reason counts. The vCPUs then leave the guest; the last one has the
 * event loop close the devices and complete {@link #exit()}. {@link #close} waits for these threads
 * before it releases what they use, the last acquired first: vCPUs, each device's eventfds and, if
 * it has one, its own event loop, the event loop of all others, the KVM machine, memory.
 */
final class KvmVirtualMachine implements VirtualMachine {
  private static final System.Logger LOGGER = System.getLogger(KvmVirtualMachine.class.getName());

  private static final int I8042_PORTS = I8042.COMMAND_OFFSET + 1;

  /** Made ahead, for when there is no memory to say more. */
  private static final VmExit UNDESCRIBED =
      new VmExit(Reason.HOST_ERROR, "a failure without words for it: memory may have run out");

  private final Consumer<KvmVirtualMachine> onClosed;
  private final String name;
  private final KvmVm vm;
  private final GuestMemory memory;
  private final EventLoop loop;
  private final ConsoleRing console;
  private final PortBus ports = new PortBus();
  private final MmioBus mmio = new MmioBus();
  private final List<AttachedDevice> devices = new ArrayList<>();
  private final VsockDevice vsock;
  private final List<Vcpu> vcpus = new ArrayList<>(); // changed under its own lock, while built
  private final AtomicInteger vcpusInside;
  private final InitialState initialState;

  private final AtomicReference<@Nullable VmExit> outcome = new AtomicReference<>();
  private final CompletableFuture<VmExit> exit = new CompletableFuture<>();

  /** What to release, the last acquired first; guarded by this. */
  private final Deque<Runnable> releases = new ArrayDeque<>();

  private boolean started; // guarded by vcpus
  private final AtomicBoolean finished = new AtomicBoolean();
  private final Runnable finish = this::finish;

  /**
   * Builds it.
   *
   * @param onClosed called once, when everything is released
   * @throws dev.nacelle.kvm.sys.ErrnoException when the host refuses; nothing is left behind
   * @throws dev.nacelle.spi.HypervisorException when the payload cannot be loaded; likewise
   */
  KvmVirtualMachine(
      Kvm kvm, CpuidPolicy cpuid, MachineSpec spec, Consumer<KvmVirtualMachine> onClosed) {
    this.onClosed = onClosed;
    name = spec.name();
    vcpusInside = new AtomicInteger(spec.cpus());
    try {
      memory = acquire(GuestMemory.allocate(spec.memoryBytes()));
      vm = acquire(kvm.createVm());
      connectMemory();
      if (kvm.check(Capability.KVM_CAP_PMU_CAPABILITY) != 0) {
        vm.disablePerformanceCounters();
      }
      vm.createIrqchip();
      loop = new EventLoop("nacelle-" + name + "-io", this::fail);
      releases.push(this::closeLoop);
      console = new ConsoleRing(spec.consoleBytes(), loop::execute);
      addLegacyDevices();
      if (spec.payload().hasExitPort()) {
        ports.add(MachineLayout.EXIT_PORT, ExitPort.PORTS, new ExitPort(this::exited));
      }
      vsock = addVsock(spec.rateLimits().socket());
      spec.devices().forEach(this::add);
      vm.createPit();
      createVcpus(cpuid, spec.cpus());
      // While the vCPUs' threads set them up.
      initialState = spec.payload().load(memory, new Hardware(spec.cpus(), devices.size()));
      vcpus.forEach(Vcpu::awaitCreated);
    } catch (Throwable e) {
      end(new VmExit(Reason.HOST_ERROR, "not built"));
      releaseAll();
      throw e;
    }
  }

  private <T extends AutoCloseable> T acquire(T resource) {
    releases.push(
        () -> {
          try {
            resource.close();
          } catch (Exception e) {
            throw new IllegalStateException(e);
          }
        });
    return resource;
  }

  /**
   * Before the irqchip: KVM waits for readers of the memory slots (SRCU) whenever they change,
   * which takes microseconds while there are none, and milliseconds after KVM_CREATE_IRQCHIP.
   */
  private void connectMemory() {
    AtomicInteger slot = new AtomicInteger();
    memory.forEachRange(
        (gpa, mapping, offset, length) ->
            vm.setMemoryRegion(slot.getAndIncrement(), gpa, mapping, offset, length));
    vm.setTssAddress(MachineLayout.TSS);
    vm.setIdentityMapAddress(MachineLayout.IDENTITY_MAP);
  }

  private void addLegacyDevices() {
    Runnable onReset = () -> end(new VmExit(Reason.RESET, "the guest reset the machine"));
    Runnable onPowerOff = () -> end(new VmExit(Reason.POWER_OFF, "the guest powered itself off"));
    ports.add(
        MachineLayout.COM1,
        Serial.PORTS,
        new Serial(console::write, () -> vm.pulseInterrupt(MachineLayout.COM1_GSI)));
    ports.add(
        MachineLayout.POWER_PORTS,
        PowerControl.PORTS,
        new PowerControl(MachineLayout.SOFT_OFF, MachineLayout.RESET_VALUE, onPowerOff, onReset));
    ports.add(I8042.FIRST_PORT, I8042_PORTS, new I8042(onReset));
    ports.add(Rtc.FIRST_PORT, Rtc.PORTS, new Rtc(InstantSource.system()));
  }

  private void exited(int status) {
    end(
        new VmExit(
            Reason.EXITED,
            "the guest exited with status " + Integer.toUnsignedString(status),
            OptionalInt.of(status)));
  }

  private void add(DeviceFactory factory) {
    int number = devices.size();
    EventLoop itsLoop =
        factory.waits()
            ? acquire(new EventLoop("nacelle-" + name + "-io" + number, this::fail))
            : loop;
    AttachedDevice device = factory.create(acquire(new DeviceSlot(number, vm, memory, itsLoop)));
    devices.add(device);
    mmio.add(MachineLayout.deviceAddress(number), MachineLayout.MMIO_DEVICE_SIZE, device);
  }

  private VsockDevice addVsock(@Nullable RateLimit limit) {
    AtomicReference<@Nullable VsockDevice> created = new AtomicReference<>();
    add(
        resources -> {
          VsockDevice device = new VsockDevice(resources, FIRST_GUEST_CID, limit);
          created.set(device);
          return DeviceFactory.overMmio(device);
        });
    return Objects.requireNonNull(created.get());
  }

  private void createVcpus(CpuidPolicy cpuid, int count) {
    for (int id = 0; id < count; id++) {
      Vcpu vcpu =
          new Vcpu(
              id,
              "nacelle-" + name + "-vcpu" + id,
              vm,
              count,
              cpuid,
              ports,
              mmio,
              new Vcpu.Listener() {
                @Override
                public void ended(VmExit exit) {
                  end(exit);
                }

                @Override
                public void failed(Throwable cause) {
                  fail(cause);
                }

                @Override
                public void left() {
                  if (vcpusInside.decrementAndGet() == 0) {
                    finishOnLoop();
                  }
                }
              });
      vcpu.create();
      releases.push(vcpu::join);
      synchronized (vcpus) {
        vcpus.add(vcpu);
        if (outcome.get() != null) {
          vcpu.stop(); // a device has failed already
        }
      }
    }
  }

  @Override
  public void start() {
    synchronized (vcpus) {
      if (started || outcome.get() != null) {
        throw new IllegalStateException(
            "the virtual machine " + name + (started ? " was started before" : " has ended"));
      }
      started = true;
    }
    for (Vcpu vcpu : vcpus) {
      vcpu.start(vcpu == vcpus.get(0) ? initialState : null);
    }
  }

  /** Has the guest end for this reason, unless it is ending already. Any thread. */
  private void end(VmExit reason) {
    if (outcome.compareAndSet(null, reason)) {
      synchronized (vcpus) {
        vcpus.forEach(Vcpu::stop);
      }
    }
  }

  /** Ends the guest because of what a device, a vCPU or the event loop threw. Any thread. */
  private void fail(Throwable cause) {
    VmExit reason = UNDESCRIBED;
    try {
      reason = describe(cause);
    } catch (RuntimeException | Error e) {
      // It ends all the same.
    }
    end(reason);
  }

  private static VmExit describe(Throwable cause) {
    if (cause instanceof GuestFault || cause instanceof GuestAddressException) {
      return new VmExit(Reason.GUEST_FAULT, String.valueOf(cause.getMessage()));
    }
    StackTraceElement[] trace = cause.getStackTrace();
    return new VmExit(Reason.HOST_ERROR, cause + (trace.length == 0 ? "" : " at " + trace[0]));
  }

  /** After the last vCPU has left the guest. */
  private void finishOnLoop() {
    boolean accepted = false;
    try {
      accepted = loop.execute(finish);
    } finally {
      if (!accepted) {
        finish();
      }
    }
  }

  private void finish() {
    if (!finished.compareAndSet(false, true)) {
      return;
    }
    try {
      for (AttachedDevice device : devices) {
        try {
          device.close();
        } catch (RuntimeException | Error e) {
          // The others must be closed all the same, and the guest has ended for its own reason.
        }
      }
      console.deliver();
    } finally {
      VmExit reason = outcome.get();
      if (reason != null) {
        exit.complete(reason);
      }
    }
  }

  private void closeLoop() {
    loop.close();
    // Has run already, unless the machine could not be built.
    finish();
  }

  @Override
  public CompletableFuture<VmExit> exit() {
    return exit.copy();
  }

  @Override
  public Listener listen(int port, Consumer<GuestConnection> onConnect) {
    return vsock.listen(port, onConnect);
  }

  @Override
  public CompletableFuture<GuestConnection> connect(int port) {
    return vsock.connect(port);
  }

  @Override
  public Console console() {
    return console;
  }

  @Override
  public VmStatistics statistics() {
    Map<String, Long> exits = new HashMap<>();
    vcpus.forEach(vcpu -> vcpu.addExits(exits));
    Map<String, Long> ignored = new HashMap<>();
    devices.forEach(device -> device.addIgnored(ignored));
    return new VmStatistics(vcpus.get(0).firstRunNanoTime(), exits, ignored);
  }

  @Override
  public void close() {
    end(new VmExit(Reason.CLOSED, "the virtual machine " + name + " was closed"));
    if (loop.isCurrent() || vcpus.stream().anyMatch(Vcpu::isCurrent)) {
      // A callback's thread would wait for its own end.
      try {
        new Thread(this::releaseAll, "nacelle-" + name + "-close").start();
      } catch (OutOfMemoryError e) {
        LOGGER.log(Level.WARNING, this + " is released with its hypervisor: no thread for it", e);
      }
    } else {
      releaseAll();
    }
  }

  private synchronized void releaseAll() {
    if (releases.isEmpty()) {
      return;
    }
    Throwable failure = null;
    while (!releases.isEmpty()) {
      try {
        releases.pop().run();
      } catch (RuntimeException | Error e) {
        if (failure == null) {
          failure = e;
        } else {
          failure.addSuppressed(e);
        }
      }
    }
    onClosed.accept(this);
    if (failure != null) {
      LOGGER.log(Level.WARNING, "not all of " + this + " could be released", failure);
    }
  }

  @Override
  public String toString() {
    return "virtual machine " + name;
  }
}
