// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.kvm.boot.InitialState;
import dev.nacelle.kvm.boot.Payload;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.Hardware;
import dev.nacelle.kvm.platform.MachineLayout;
import java.util.HexFormat;

/**
 * A guest that is a virtio driver: it writes to a device's registers and to its own memory, one
 * instruction after the other, and then does nothing for ever.
 */
final class DriverProgram implements Payload {
  /** Where a test has memory to itself; the machine's ends at {@link TestMachines#MEMORY}. */
  static final int DESCRIPTORS = 0x10_0000;

  static final int AVAILABLE = 0x10_4000;
  static final int USED = 0x10_8000;
  static final int DATA = 0x11_0000;

  // Registers and status, virtio 1.2 sections 4.2.2 and 2.1
  static final int QUEUE_SEL = 0x30;
  static final int QUEUE_SIZE = 0x38;
  static final int QUEUE_READY = 0x44;
  static final int QUEUE_NOTIFY = 0x50;
  static final int STATUS = 0x70;
  static final int QUEUE_DESC = 0x80;
  static final int QUEUE_DRIVER = 0x90;
  static final int QUEUE_DEVICE = 0xa0;

  private final StringBuilder code = new StringBuilder();
  private final int device;

  /** A program for the n-th device. */
  DriverProgram(int device) {
    this.device = (int) MachineLayout.deviceAddress(device);
  }

  /** Writes 4 bytes to memory. */
  DriverProgram store(int address, int value) {
    code.append("bf").append(littleEndian(address)); // mov $address, %edi
    code.append("c707").append(littleEndian(value)); // movl $value, (%rdi)
    return this;
  }

  /** Writes a register. */
  DriverProgram write(int register, int value) {
    return store(device + register, value);
  }

  private static String littleEndian(int value) {
    return HexFormat.of().toHexDigits(Integer.reverseBytes(value));
  }

  /** Reset to FEATURES_OK, with these of the first 32 feature bits, and VIRTIO_F_VERSION_1. */
  DriverProgram negotiate(int features) {
    return write(STATUS, 0)
        .write(STATUS, 1)
        .write(STATUS, 3)
        .write(0x24, 0)
        .write(0x20, features)
        .write(0x24, 1)
        .write(0x20, 1)
        .write(STATUS, 0xb);
  }

  /** Configures a queue. */
  DriverProgram queue(int index, int size, int descriptors, int available, int used) {
    return write(QUEUE_SEL, index)
        .write(QUEUE_SIZE, size)
        .write(QUEUE_DESC, descriptors)
        .write(QUEUE_DRIVER, available)
        .write(QUEUE_DEVICE, used)
        .write(QUEUE_READY, 1);
  }

  /** Takes a queue away, and clears what was said of it. */
  DriverProgram unsetQueue(int index) {
    return write(QUEUE_SEL, index)
        .write(QUEUE_READY, 0)
        .write(QUEUE_SIZE, 0)
        .write(QUEUE_DESC, 0)
        .write(QUEUE_DESC + 4, 0)
        .write(QUEUE_DRIVER, 0)
        .write(QUEUE_DRIVER + 4, 0)
        .write(QUEUE_DEVICE, 0)
        .write(QUEUE_DEVICE + 4, 0);
  }

  /** A live device with one queue of 8 where the constants say. */
  DriverProgram live(int queue, int features) {
    return negotiate(features).queue(queue, 8, DESCRIPTORS, AVAILABLE, USED).write(STATUS, 0xf);
  }

  /** Writes a descriptor of the queue. */
  DriverProgram descriptor(int index, long address, int length, int flags, int next) {
    return descriptorAt(DESCRIPTORS + 16 * index, address, length, flags, next);
  }

  /** Writes a descriptor anywhere. */
  DriverProgram descriptorAt(int at, long address, int length, int flags, int next) {
    return store(at, (int) address)
        .store(at + 4, (int) (address >>> 32))
        .store(at + 8, length)
        .store(at + 12, flags | next << 16);
  }

  /** Makes a head available as the first, and rings. */
  DriverProgram offer(int queue, int head) {
    return store(AVAILABLE + 4, head).available(queue, 1);
  }

  /** Sets the available index, and rings. */
  DriverProgram available(int queue, int index) {
    return store(AVAILABLE, index << 16).write(QUEUE_NOTIFY, queue);
  }

  /** Waits until 2 bytes of memory have a value. */
  DriverProgram thenAwait(int address, int value) {
    code.append("bf").append(littleEndian(address)); // mov $address, %edi
    code.append("f390"); // pause
    code.append("66813f").append(littleEndian(value), 0, 4); // cmpw $value, (%rdi)
    code.append("75f7"); // jne to pause
    return this;
  }

  /** Powers the machine off. */
  DriverProgram thenPowerOff() {
    code.append(BareGuest.LONG_MODE_POWER_OFF);
    return this;
  }

  @Override
  public InitialState load(GuestMemory memory, Hardware hardware) {
    return BareGuest.longMode(code.toString(), BareGuest.SPIN).load(memory, hardware);
  }
}
