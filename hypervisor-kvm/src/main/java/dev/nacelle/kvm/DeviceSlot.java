// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.kvm.device.EventLoop;
import dev.nacelle.kvm.device.InterruptLine;
import dev.nacelle.kvm.device.LoopResources;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.MachineLayout;
import dev.nacelle.kvm.sys.EventFd;
import dev.nacelle.kvm.sys.KvmVm;
import java.util.ArrayList;
import java.util.List;

/** The n-th place for a memory-mapped device: its addresses, its interrupt, its doorbells. */
final class DeviceSlot extends LoopResources implements AutoCloseable {
  private final int number;
  private final KvmVm vm;
  private final List<EventFd> doorbells = new ArrayList<>();
  private final EventFd interrupt = new EventFd();

  DeviceSlot(int number, KvmVm vm, GuestMemory memory, EventLoop loop) {
    super(memory, loop);
    this.number = number;
    this.vm = vm;
    try {
      vm.connectInterrupt(interrupt, MachineLayout.deviceGsi(number));
    } catch (RuntimeException | Error e) {
      interrupt.close();
      throw e;
    }
  }

  @Override
  public InterruptLine interrupt() {
    return interrupt::signal;
  }

  @Override
  public void doorbell(long offset, int value, Runnable onWrite) {
    EventFd doorbell = new EventFd();
    doorbells.add(doorbell);
    vm.connectDoorbell(doorbell, MachineLayout.deviceAddress(number) + offset, value);
    loop.register(doorbell, onWrite);
  }

  /** A signal of the device that comes later is dropped; doorbells leave the event loop. */
  @Override
  public void close() {
    doorbells.forEach(EventFd::close);
    interrupt.close();
  }
}
