// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.MemoryPolicy;
import dev.nacelle.RateLimit;
import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.kvm.boot.InitialState;
import dev.nacelle.kvm.cpu.CpuidPolicy;
import dev.nacelle.kvm.device.AttachedDevice;
import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.EventLoop;
import dev.nacelle.kvm.device.MmioBus;
import dev.nacelle.kvm.device.PortBus;
import dev.nacelle.kvm.device.legacy.ExitPort;
import dev.nacelle.kvm.device.legacy.I8042;
import dev.nacelle.kvm.device.legacy.PowerControl;
import dev.nacelle.kvm.device.legacy.Rtc;
import dev.nacelle.kvm.device.legacy.Serial;
import dev.nacelle.kvm.device.virtio.BalloonDevice;
import dev.nacelle.kvm.device.virtio.VirtioDevice;
import dev.nacelle.kvm.device.virtio.vsock.VsockDevice;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.MachineLayout;
import dev.nacelle.kvm.sys.Capability;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.kvm.sys.KvmVm;
import dev.nacelle.kvm.vcpu.CoreGroup;
import dev.nacelle.kvm.vcpu.CpuQuota;
import dev.nacelle.kvm.vcpu.Vcpu;
import dev.nacelle.spi.ConsoleRing;
import dev.nacelle.spi.VirtualMachine;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Puts a virtual machine together: memory, KVM's machine, devices, vCPUs, and what runs in it. What
 * it makes belongs to the machine's {@link MachineLife} from the moment it is there, so that a
 * machine that cannot be finished leaves nothing behind.
 */
final class MachineBuilder {
  private static final int I8042_PORTS = I8042.COMMAND_OFFSET + 1;

  private final Kvm kvm;
  private final CpuidPolicy cpuid;
  private final MachineSpec spec;
  private final @Nullable CoreGroup cores;
  private final MachineLife life;
  private final GuestMemory memory;
  private final KvmVm vm;
  private final PortBus ports = new PortBus();
  private final MmioBus mmio = new MmioBus();
  private final List<AttachedDevice> devices = new ArrayList<>();
  private final List<Vcpu> vcpus = new ArrayList<>();

  private MachineBuilder(
      Kvm kvm,
      CpuidPolicy cpuid,
      MachineSpec spec,
      @Nullable CoreGroup cores,
      MachineLife life,
      GuestMemory memory,
      KvmVm vm) {
    this.kvm = kvm;
    this.cpuid = cpuid;
    this.spec = spec;
    this.cores = cores;
    this.life = life;
    this.memory = memory;
    this.vm = vm;
  }

  /**
   * Builds a machine that has not been started.
   *
   * @param cores of its vCPUs; null without core scheduling
   * @param life a new one; abandoned when this fails
   * @throws dev.nacelle.kvm.sys.ErrnoException when the host refuses
   * @throws dev.nacelle.HypervisorException when the payload cannot be loaded
   */
  static KvmVirtualMachine build(
      Kvm kvm, CpuidPolicy cpuid, MachineSpec spec, @Nullable CoreGroup cores, MachineLife life) {
    try {
      GuestMemory memory =
          life.acquire(
              spec.memoryPolicy() == MemoryPolicy.HUGE_PAGES
                  ? HugePages.ofHost().allocate(spec.name(), spec.memoryBytes())
                  : GuestMemory.allocate(spec.memoryBytes()));
      // Meanwhile: KVM_CREATE_VM may sleep for many milliseconds, until all processors have been
      // seen (it moves a thread of the kernel's to this process's control group).
      Loading loading = Loading.begin(spec, memory, life.threadName("load"));
      try {
        KvmVm vm = life.acquire(kvm.createVm());
        life.givesBack(memory);
        return new MachineBuilder(kvm, cpuid, spec, cores, life, memory, vm).build(loading);
      } finally {
        loading.await();
      }
    } catch (Throwable e) {
      life.abandon();
      throw e;
    }
  }

  private KvmVirtualMachine build(Loading loading) {
    connectMemory();
    limitProcessors();
    vm.createIrqchip();
    vm.maskPics();
    life.startMainLoop();
    ConsoleRing console = addConsole();
    addLegacyDevices();
    if (spec.payload().hasExitPort()) {
      ports.add(MachineLayout.EXIT_PORT, ExitPort.PORTS, new ExitPort(this::exited));
    }
    VsockDevice vsock = addVsock(spec.rateLimits().socket().orElse(null));
    spec.devices().forEach(this::add);
    BalloonDevice balloon = spec.balloon() ? addVirtio(BalloonDevice::new) : null;
    if (spec.payload().needsPit(cpuid.hasClockAndTimer())) {
      vm.createPit();
    }
    createVcpus();
    InitialState state = loading.result();
    vcpus.forEach(Vcpu::awaitCreated);
    life.built(vm);
    return new KvmVirtualMachine(life, vcpus, state, devices, vsock, balloon, memory, console);
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
  private void limitProcessors() {
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

  /** The serial port, and what becomes of its output. */
  private ConsoleRing addConsole() {
    ConsoleRing console =
        new ConsoleRing(
            spec.consoleBytes(),
            life.mainLoop()::execute,
            cores == null ? Runnable::run : cores::runOutside);
    life.add(console);
    ports.add(
        MachineLayout.COM1,
        Serial.PORTS,
        new Serial(console::write, () -> vm.pulseInterrupt(MachineLayout.COM1_GSI)));
    return console;
  }

  private void addLegacyDevices() {
    Runnable onReset = () -> life.ended(VmExit.of(Reason.RESET, "the guest reset the machine"));
    Runnable onPowerOff =
        () -> life.ended(VmExit.of(Reason.POWER_OFF, "the guest powered itself off"));
    ports.add(
        MachineLayout.POWER_PORTS,
        PowerControl.PORTS,
        new PowerControl(MachineLayout.SOFT_OFF, MachineLayout.RESET_VALUE, onPowerOff, onReset));
    ports.add(I8042.FIRST_PORT, I8042_PORTS, new I8042(onReset));
    ports.add(Rtc.FIRST_PORT, Rtc.PORTS, new Rtc(InstantSource.system()));
  }

  private void exited(int status) {
    life.ended(
        VmExit.exited(status, "the guest exited with status " + Integer.toUnsignedString(status)));
  }

  private void add(DeviceFactory factory) {
    int number = devices.size();
    EventLoop loop = factory.waits() ? life.startLoop("io" + number) : life.mainLoop();
    AttachedDevice device;
    try {
      device = factory.create(life.acquire(new DeviceSlot(number, vm, memory, loop)));
    } catch (Throwable e) {
      if (loop != life.mainLoop()) {
        loop.shutdown();
      }
      throw e;
    }
    devices.add(device);
    life.add(device, loop);
    mmio.add(MachineLayout.deviceAddress(number), MachineLayout.MMIO_DEVICE_SIZE, device);
  }

  private VsockDevice addVsock(@Nullable RateLimit limit) {
    return addVirtio(
        resources -> new VsockDevice(resources, VirtualMachine.FIRST_GUEST_CID, limit));
  }

  /** Adds one that the machine's users have to do with. */
  private <D extends VirtioDevice> D addVirtio(Function<DeviceResources, D> maker) {
    AtomicReference<@Nullable D> created = new AtomicReference<>();
    add(
        resources -> {
          D device = maker.apply(resources);
          created.set(device);
          return DeviceFactory.overMmio(device);
        });
    return Objects.requireNonNull(created.get());
  }

  private void createVcpus() {
    boolean enforceKvmFeatures = kvm.check(Capability.KVM_CAP_ENFORCE_PV_FEATURE_CPUID) != 0;
    CpuQuota quota =
        spec.cpuQuota().isPresent() ? new CpuQuota(spec.cpuQuota().getAsDouble()) : null;
    for (int id = 0; id < spec.cpus(); id++) {
      Vcpu vcpu =
          new Vcpu(
              id,
              life.threadName("vcpu" + id),
              vm,
              spec.cpus(),
              cpuid,
              enforceKvmFeatures,
              cores,
              quota,
              spec.niceness(),
              ports,
              mmio,
              life);
      life.add(vcpu);
      vcpus.add(vcpu);
    }
  }
}
