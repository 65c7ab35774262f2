// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.vmbus;

import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.kvm.acpi.VmbusDevice;
import dev.nacelle.kvm.boot.InitialState;
import dev.nacelle.kvm.boot.LinuxKernel;
import dev.nacelle.kvm.cpu.CpuidPolicy;
import dev.nacelle.kvm.device.PortBus;
import dev.nacelle.kvm.device.legacy.PowerControl;
import dev.nacelle.kvm.device.legacy.Rtc;
import dev.nacelle.kvm.device.legacy.Serial;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.Hardware;
import dev.nacelle.kvm.platform.MachineLayout;
import dev.nacelle.kvm.sys.HypervInterface;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.kvm.sys.KvmVm;
import java.nio.charset.StandardCharsets;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * A machine of KVM's whose guest takes it for one of Hyper-V's: memory, processors with a SynIC, a
 * serial port, ACPI with VMBus, and nothing else. Its user is what is behind the hypercalls.
 */
final class Partition implements AutoCloseable {
  /** What the guest's hypercalls go to; called on the vCPUs' threads. */
  interface Host {
    /** HvPostMessage (TLFS section 11.11.1); returns its status. */
    int posted(int connection, byte[] message);

    /** HvSignalEvent (section 11.11.2); returns its status. */
    int signalled(int connection);
  }

  /** HV_STATUS_ (TLFS appendix B). */
  static final int SUCCESS = 0;

  static final int INVALID_HYPERCALL_CODE = 2;
  static final int INVALID_CONNECTION_ID = 0x12;

  /** VMBUS_MESSAGE_SINT: the synthetic interrupt of all that VMBus does. */
  private static final int SINT = 2;

  /** Of a SynIC's two pages, what belongs to one synthetic interrupt. */
  private static final int SLOT = 256;

  private static final int ENABLED = 1;

  private final GuestMemory memory;
  private final Kvm kvm;
  private final KvmVm vm;
  private final List<VirtualProcessor> processors = new ArrayList<>();
  private final CompletableFuture<VmExit> reason = new CompletableFuture<>();
  private final CompletableFuture<VmExit> ended = new CompletableFuture<>();
  private final AtomicInteger inside;
  private volatile @Nullable Host host;

  /**
   * Makes one that has not been started.
   *
   * @param kernel the kernel to boot
   * @param commandLine instead of its own
   * @param console takes what the guest writes to its serial port
   */
  Partition(
      String name,
      long memoryBytes,
      int cpus,
      LinuxKernel kernel,
      String commandLine,
      Serial.Output console) {
    inside = new AtomicInteger(cpus);
    kvm = Kvm.open();
    memory = GuestMemory.allocate(memoryBytes);
    vm = kvm.createVm();
    try {
      build(name, cpus, kernel, commandLine, console);
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  private void build(
      String name, int cpus, LinuxKernel kernel, String commandLine, Serial.Output console) {
    AtomicInteger slots = new AtomicInteger();
    memory.forEachRange(
        (gpa, mapping, offset, length) ->
            vm.setMemoryRegion(slots.getAndIncrement(), gpa, mapping, offset, length));
    vm.setTssAddress(MachineLayout.TSS);
    vm.setIdentityMapAddress(MachineLayout.IDENTITY_MAP);
    vm.createIrqchip();
    vm.maskPics();

    PortBus ports = new PortBus();
    Runnable onReset = () -> end(VmExit.of(Reason.RESET, "the guest reset the machine"));
    Runnable onPowerOff = () -> end(VmExit.of(Reason.POWER_OFF, "the guest powered itself off"));
    ports.add(
        MachineLayout.COM1,
        Serial.PORTS,
        new Serial(console, () -> vm.pulseInterrupt(MachineLayout.COM1_GSI)));
    ports.add(
        MachineLayout.POWER_PORTS,
        PowerControl.PORTS,
        new PowerControl(MachineLayout.SOFT_OFF, MachineLayout.RESET_VALUE, onPowerOff, onReset));
    ports.add(Rtc.FIRST_PORT, Rtc.PORTS, new Rtc(InstantSource.system()));

    CpuidPolicy cpuid = new CpuidPolicy(kvm.supportedCpuid(), true);
    for (int id = 0; id < cpus; id++) {
      VirtualProcessor processor = new VirtualProcessor(this, name, id, cpus, cpuid, ports);
      processors.add(processor);
      // One after the other: in KVM, a virtual processor's index is the order of its making.
      processor.awaitCreated();
    }
    HypervInterface.route(vm, cpus, SINT);
    InitialState state = kernel.load(memory, new Hardware(cpus, 0));
    VmbusDevice.add(memory);
    byte[] line = (commandLine + "\0").getBytes(StandardCharsets.UTF_8);
    memory.putBytes(MachineLayout.COMMAND_LINE, line, 0, line.length);
    processors.get(0).startIn(state);
  }

  Host host() {
    return Objects.requireNonNull(host);
  }

  GuestMemory memory() {
    return memory;
  }

  KvmVm vm() {
    return vm;
  }

  void start(Host itsHost) {
    host = itsHost;
    processors.forEach(VirtualProcessor::start);
  }

  /** The first reason counts; the vCPUs leave the guest. */
  void end(VmExit why) {
    if (reason.complete(why)) {
      processors.forEach(VirtualProcessor::stop);
    }
  }

  void fail(String why) {
    end(VmExit.of(Reason.HOST_ERROR, why));
  }

  boolean isEnding() {
    return reason.isDone();
  }

  /** Completes when the last vCPU has left the guest, on its thread. */
  CompletableFuture<VmExit> ended() {
    return ended;
  }

  /** A vCPU will not enter the guest again. */
  void left() {
    if (inside.decrementAndGet() == 0) {
      ended.complete(reason.join());
    }
  }

  /**
   * Puts a message into the slot of a vCPU (TLFS section 11.10), unless there is one.
   *
   * @return false when there is one; the guest takes it soon
   */
  boolean deliver(int vcpu, byte[] message) {
    long page = processors.get(vcpu).messagePage();
    if ((page & ENABLED) == 0) {
      return false;
    }
    long slot = (page & ~0xfffL) + SINT * SLOT;
    if (memory.getInt(slot) != 0) {
      return false;
    }
    memory.putInt(slot + 4, message.length);
    memory.putLong(slot + 8, 0);
    memory.putBytes(slot + 16, message, 0, message.length);
    Ring.fence();
    memory.putInt(slot, Vmbus.MESSAGE_TYPE);
    interrupt(vcpu);
    return true;
  }

  /**
   * Sets an event flag of a vCPU (TLFS section 11.9). The guest clears flags meanwhile; one of its
   * that comes back by this is an interrupt for nothing, and none is lost: only here they are set.
   */
  synchronized void signal(int vcpu, int flag) {
    long page = processors.get(vcpu).eventPage();
    if ((page & ENABLED) == 0) {
      return;
    }
    long place = (page & ~0xfffL) + SINT * SLOT + flag / 8;
    memory.putByte(place, (byte) (memory.getByte(place) | 1 << flag % 8));
    Ring.fence();
    interrupt(vcpu);
  }

  private void interrupt(int vcpu) {
    vm.pulseInterrupt(HypervInterface.gsi(vcpu));
  }

  /** Ends it, and waits for its threads. Nothing may use its memory any more, nor will. */
  @Override
  public void close() {
    end(VmExit.of(Reason.CLOSED, "the machine was closed"));
    processors.forEach(VirtualProcessor::awaitEnd);
    vm.close();
    memory.close();
    kvm.close();
  }
}
