// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.RateLimit;
import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.VmStatistics;
import dev.nacelle.kvm.boot.InitialState;
import dev.nacelle.kvm.boot.MachineLayout;
import dev.nacelle.kvm.boot.Payload.Hardware;
import dev.nacelle.kvm.cpu.CpuidPolicy;
import dev.nacelle.kvm.device.AttachedDevice;
import dev.nacelle.kvm.device.ConsoleRing;
import dev.nacelle.kvm.device.EventLoop;
import dev.nacelle.kvm.device.ExitPort;
import dev.nacelle.kvm.device.GuestFault;
import dev.nacelle.kvm.device.I8042;
import dev.nacelle.kvm.device.MachineThread;
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
import dev.nacelle.kvm.vcpu.CoreGroup;
import dev.nacelle.kvm.vcpu.Vcpu;
import dev.nacelle.spi.Console;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.VirtualMachine;
import java.time.Duration;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A virtual machine: its memory, its vCPUs with a thread each, its devices with one event loop, put
 * together, ended and taken apart.
 *
 * <p>It ends once: the first reason counts. The vCPUs then leave the guest; the last one has each
 * device's event loop close it, and the machine's own complete {@link #exit()}, for which no device
 * with an event loop of its own is waited for. {@link #close} lets the event loops end; then {@link
 * Teardown} releases each device's eventfds, the KVM machine and its memory.
 */
final class KvmVirtualMachine implements VirtualMachine {
  private static final int I8042_PORTS = I8042.COMMAND_OFFSET + 1;

  /** Made ahead, for when there is no memory to say more. */
  private static final VmExit UNDESCRIBED =
      new VmExit(Reason.HOST_ERROR, "a failure without words for it: memory may have run out");

  /** A device and the event loop that its work is done on. */
  private record Place(AttachedDevice device, EventLoop loop) {}

  private final String name;
  private final Duration patience;
  private final Teardown teardown;
  private final KvmVm vm;
  private final GuestMemory memory;
  private final EventLoop loop;
  private final ConsoleRing console;
  private final PortBus ports = new PortBus();
  private final MmioBus mmio = new MmioBus();
  private final List<Place> devices = new ArrayList<>();
  private final VsockDevice vsock;
  private final List<Vcpu> vcpus = new ArrayList<>(); // changed under its own lock, while built

  /** vCPUs that may enter the guest, and one while they are being made. */
  private final AtomicInteger vcpusInside = new AtomicInteger(1);

  /**
   * Completes when none will enter the guest, and the event loop has been told to close devices.
   */
  private final CompletableFuture<@Nullable Void> vcpusOut = new CompletableFuture<>();

  private final InitialState initialState;

  private final AtomicReference<@Nullable VmExit> outcome = new AtomicReference<>();
  private final CompletableFuture<VmExit> exit = new CompletableFuture<>();

  private boolean started; // guarded by vcpus
  private final Runnable finish = this::finish;

  /**
   * Builds it.
   *
   * @param cores of its vCPUs; null without core scheduling
   * @param patience how long {@link #close} waits for threads that are stuck
   * @param onClosed called once, when everything is released
   * @throws dev.nacelle.kvm.sys.ErrnoException when the host refuses; nothing is left behind
   * @throws dev.nacelle.HypervisorException when the payload cannot be loaded; likewise
   */
  KvmVirtualMachine(
      Kvm kvm,
      CpuidPolicy cpuid,
      MachineSpec spec,
      @Nullable CoreGroup cores,
      Duration patience,
      Consumer<KvmVirtualMachine> onClosed) {
    name = spec.name();
    this.patience = patience;
    teardown = new Teardown(toString(), () -> onClosed.accept(this));
    @Nullable EventLoop started = null;
    try {
      memory = teardown.acquire(GuestMemory.allocate(spec.memoryBytes()));
      vm = teardown.acquire(kvm.createVm());
      connectMemory();
      limitProcessors(kvm);
      vm.createIrqchip();
      vm.maskPics();
      started = startLoop("nacelle-" + name + "-io");
      loop = started;
      console =
          new ConsoleRing(
              spec.consoleBytes(),
              loop::execute,
              cores == null ? Runnable::run : cores::runOutside);
      addLegacyDevices();
      if (spec.payload().hasExitPort()) {
        ports.add(MachineLayout.EXIT_PORT, ExitPort.PORTS, new ExitPort(this::exited));
      }
      vsock = addVsock(spec.rateLimits().socket());
      spec.devices().forEach(this::add);
      if (spec.payload().needsPit(cpuid.hasClockAndTimer())) {
        vm.createPit();
      }
      boolean enforce = kvm.check(Capability.KVM_CAP_ENFORCE_PV_FEATURE_CPUID) != 0;
      createVcpus(cpuid, enforce, cores, spec.cpus());
      // While the vCPUs' threads set them up.
      initialState = spec.payload().load(memory, new Hardware(spec.cpus(), devices.size()));
      vcpus.forEach(Vcpu::awaitCreated);
      vcpuOut(loop); // the builder, not the last unless a device has failed already
    } catch (Throwable e) {
      end(new VmExit(Reason.HOST_ERROR, "not built"));
      if (started != null) {
        vcpuOut(started);
        shutDownOnceOut(started);
      }
      teardown.disown();
      awaitRelease();
      throw e;
    }
  }

  private EventLoop startLoop(String threadName) {
    EventLoop made = new EventLoop(threadName, this::fail);
    teardown.uses(made.thread());
    var unused = made.ended().thenRun(() -> teardown.ended(made.thread()));
    return made;
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

  /** What a guest could make other guests and the host slow by, or spy on them, where KVM can. */
  private void limitProcessors(Kvm kvm) {
    if (kvm.check(Capability.KVM_CAP_PMU_CAPABILITY) != 0) {
      vm.disablePerformanceCounters();
    }
    if (kvm.check(Capability.KVM_CAP_X86_BUS_LOCK_EXIT) != 0) {
      vm.exitOnBusLocks();
    }
    if (kvm.check(Capability.KVM_CAP_X86_NOTIFY_VMEXIT) != 0) {
      vm.exitWhereEventsCannotCome();
    }
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
    EventLoop itsLoop = factory.waits() ? startLoop("nacelle-" + name + "-io" + number) : loop;
    AttachedDevice device;
    try {
      device = factory.create(teardown.acquire(new DeviceSlot(number, vm, memory, itsLoop)));
    } catch (Throwable e) {
      if (itsLoop != loop) {
        itsLoop.shutdown();
      }
      throw e;
    }
    devices.add(new Place(device, itsLoop));
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

  private void createVcpus(
      CpuidPolicy cpuid, boolean enforceKvmFeatures, @Nullable CoreGroup cores, int count) {
    for (int id = 0; id < count; id++) {
      Vcpu vcpu =
          new Vcpu(
              id,
              "nacelle-" + name + "-vcpu" + id,
              vm,
              count,
              cpuid,
              enforceKvmFeatures,
              cores,
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
                  vcpuOut(loop);
                  teardown.ended(Thread.currentThread());
                }
              });
      teardown.uses(vcpu.thread());
      vcpusInside.incrementAndGet();
      try {
        vcpu.create();
      } catch (Throwable e) {
        vcpusInside.decrementAndGet();
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

  /** One less that may enter the guest; after the last one, the event loop is told to finish. */
  private void vcpuOut(EventLoop mainLoop) {
    if (vcpusInside.decrementAndGet() > 0) {
      return;
    }
    boolean accepted = false;
    try {
      accepted = mainLoop.execute(finish);
    } finally {
      if (!accepted) {
        finish();
      }
      vcpusOut.complete(null);
    }
  }

  private void finish() {
    try {
      devices.forEach(this::closeDevice);
      console.deliver();
    } finally {
      VmExit reason = outcome.get();
      if (reason != null) {
        exit.complete(reason);
      }
    }
  }

  private void closeDevice(Place place) {
    try {
      if (place.loop == loop || !place.loop.execute(place.device::close)) {
        place.device.close();
      }
    } catch (RuntimeException | Error e) {
      // The others must be closed all the same, and the guest has ended for its own reason.
    } finally {
      if (place.loop != loop) {
        place.loop.shutdown();
      }
    }
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
    devices.forEach(place -> place.device.addIgnored(ignored));
    return new VmStatistics(vcpus.get(0).firstRunNanoTime(), exits, ignored);
  }

  @Override
  public void close() {
    beginClose();
    awaitRelease();
  }

  /** Has everything end and be released, without waiting for it. Idempotent. */
  void beginClose() {
    end(new VmExit(Reason.CLOSED, "the virtual machine " + name + " was closed"));
    shutDownOnceOut(loop);
    teardown.disown();
  }

  /** Has the event loop end, but not before it was told to finish. */
  private void shutDownOnceOut(EventLoop mainLoop) {
    var unused = vcpusOut.thenRun(mainLoop::shutdown);
  }

  private void awaitRelease() {
    awaitRelease(System.nanoTime() + patience.toNanos());
  }

  /**
   * Waits until everything is released, or until the deadline (of {@link System#nanoTime}). Not at
   * all on a machine's thread, which would wait for its own end, or for another that waits for it.
   */
  void awaitRelease(long deadline) {
    if (!MachineThread.isCurrent()) {
      teardown.await(deadline, patience);
    }
  }

  @Override
  public String toString() {
    return "virtual machine " + name;
  }
}
