// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.kvm.boot.InitialState;
import dev.nacelle.kvm.boot.LongMode;
import dev.nacelle.kvm.boot.Payload;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.MachineLayout;

/** Guests of a few instructions in 64-bit mode, which any KVM can run. */
final class BareGuest {
  /** Where the instructions are. */
  private static final long ENTRY = MachineLayout.HIGH_MEMORY;

  /** Stops for good: {@code cli; hlt; jmp}. */
  static final byte[] HALT = {(byte) 0xfa, (byte) 0xf4, (byte) 0xeb, (byte) 0xfd};

  /**
   * Powers off, by the sleep control register of ACPI: {@code mov dx, port; mov al, SLP_EN |
   * SLP_TYP; out dx, al}, and then as {@link #HALT}.
   */
  static final byte[] POWER_OFF = {
    0x66,
    (byte) 0xba,
    (byte) MachineLayout.SLEEP_CONTROL_PORT,
    (byte) (MachineLayout.SLEEP_CONTROL_PORT >>> 8),
    (byte) 0xb0,
    1 << 5 | MachineLayout.SOFT_OFF << 2,
    (byte) 0xee,
    (byte) 0xfa,
    (byte) 0xf4,
    (byte) 0xeb,
    (byte) 0xfd
  };

  private BareGuest() {}

  /** The instructions as what a machine runs. */
  static Payload payload(byte[] code) {
    return (memory, hardware) -> load(memory, code);
  }

  /** Puts the instructions into memory. */
  static InitialState load(GuestMemory memory, byte[] code) {
    memory.putBytes(ENTRY, code, 0, code.length);
    return LongMode.enter(memory, ENTRY, 0);
  }
}
