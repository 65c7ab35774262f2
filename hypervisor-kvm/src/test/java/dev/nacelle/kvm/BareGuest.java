// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.kvm.boot.InitialState;
import dev.nacelle.kvm.boot.LongMode;
import dev.nacelle.kvm.boot.Payload;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.Hardware;
import dev.nacelle.kvm.sys.KvmRegs;
import dev.nacelle.kvm.sys.KvmSregs;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;

/**
 * A guest of a few instructions, written as hexadecimal bytes. Every KVM runs it, also one that
 * emulates the guest's kernel code.
 */
final class BareGuest implements Payload {
  /** Where the code of {@link #realMode} is. */
  static final int REAL_MODE_CODE = 0x1000;

  /** Where the code of {@link #longMode} is. */
  static final int LONG_MODE_CODE = 0x1_0000;

  /** Writes 0x34 to port 0x600, in 16-bit code. */
  static final String REAL_MODE_POWER_OFF = "ba 00 06 b0 34 ee f4";

  /** The same in 64-bit code. */
  static final String LONG_MODE_POWER_OFF = "ba 00 06 00 00 b0 34 ee f4";

  /** Jumps to itself, in any mode. */
  static final String SPIN = "eb fe";

  /** A real-mode code segment that starts at 0 (Intel SDM volume 3, section 10.1.4). */
  private static final long CODE_SEGMENT = 0x9b00_0000_ffffL;

  private record Piece(long address, byte[] bytes) {}

  private final boolean longMode;
  private final List<Piece> pieces = new ArrayList<>();

  private BareGuest(boolean longMode, String[] code) {
    this.longMode = longMode;
    with(longMode ? LONG_MODE_CODE : REAL_MODE_CODE, code);
  }

  /** Starts in real mode, all segments at 0. */
  static BareGuest realMode(String... code) {
    return new BareGuest(false, code);
  }

  /** Starts in 64-bit mode, the first 4 GiB mapped one to one, with a stack. */
  static BareGuest longMode(String... code) {
    return new BareGuest(true, code);
  }

  /** Puts more bytes into memory. */
  BareGuest with(long address, String... hex) {
    byte[] bytes = HexFormat.of().parseHex(String.join("", hex).replace(" ", ""));
    pieces.add(new Piece(address, bytes));
    return this;
  }

  @Override
  public InitialState load(GuestMemory memory, Hardware hardware) {
    for (Piece piece : pieces) {
      memory.putBytes(piece.address, piece.bytes, 0, piece.bytes.length);
    }
    if (longMode) {
      return LongMode.enter(memory, LONG_MODE_CODE, 0);
    }
    return (regs, sregs) -> {
      regs.set(KvmRegs.RIP, REAL_MODE_CODE).set(KvmRegs.RFLAGS, 2);
      sregs.setSegment(KvmSregs.CS, 0, CODE_SEGMENT);
    };
  }
}
