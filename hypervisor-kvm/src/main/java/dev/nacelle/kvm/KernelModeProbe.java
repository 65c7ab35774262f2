// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.kvm.boot.InitialState;
import dev.nacelle.kvm.boot.LongMode;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.KvmCpuid;
import dev.nacelle.kvm.sys.KvmSregs;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Runs what every kernel's start needs, in kernel mode, in a machine made for it. A processor with
 * hardware virtualisation runs such code itself. A KVM without it (PVM, for one) answers every
 * question about capabilities in the same way, but has to emulate the guest's kernel, and its
 * emulator does not know these instructions.
 */
final class KernelModeProbe {
  private static final int CODE = 0x1_0000;
  private static final int IDT = 0x1_1000;
  // At 0x12000: zeros for cmpxchg16b, then an area for xsave, up to the end of the memory.

  private static final int MEMORY = 1 << 20;

  /** What the processor takes microseconds for. */
  private static final long PATIENCE_SECONDS = 10;

  // CPUID leaf 1, ECX (Intel SDM volume 2).
  private static final int CMPXCHG16B = 1 << 13;
  private static final int XSAVE = 1 << 26;

  /** Its subleaf 0 has in EDX:EAX what XCR0 can hold (likewise). */
  private static final int STATES_LEAF = 0xd;

  private static final String PREPARE_CODE =
      "bf 00 20 01 00" // mov $0x12000, %edi
          + " 31 c0" // xor %eax, %eax
          + " 31 d2" // xor %edx, %edx
          + " 8d 58 01" // lea 1(%rax), %ebx
          + " 31 c9"; // xor %ecx, %ecx

  private static final String CMPXCHG16B_CODE = "f0 48 0f c7 0f"; // lock cmpxchg16b (%rdi)

  private static final String SWITCH_XSAVE_ON_CODE =
      "0f 20 e0" // mov %cr4, %rax
          + " 0d 00 02 04 00" // or $(OSXSAVE | OSFXSR), %eax
          + " 0f 22 e0"; // mov %rax, %cr4

  private static final String XSAVE_CODE =
      "0f ae 67 40" // xsave 64(%rdi)
          + " 0f ae 6f 40"; // xrstor 64(%rdi)

  private static final String NOP = "90";

  private static final String BREAKPOINT_CODE = "cc"; // int3

  private static final String POWER_OFF_CODE =
      "ba 00 06 00 00" // mov $SLEEP_CONTROL_PORT, %edx
          + " b0 34" // mov $(SLP_EN | SOFT_OFF << 2), %al
          + " ee"; // out %al, %dx

  private static final String REFUSED_CODE =
      "ba 02 06 00 00" // mov $RESET_PORT, %edx
          + " b0 01" // mov $RESET_VALUE, %al
          + " ee"; // out %al, %dx

  private static final String HANDLER_CODE = "48 cf"; // iretq

  private static final int BREAKPOINT_VECTOR = 3;

  /** Invalid opcode and general protection: how the processor refuses an instruction. */
  private static final int[] REFUSAL_VECTORS = {6, 13};

  /** Those that the processor may raise. */
  private static final int VECTORS = 32;

  private static final int CODE_SELECTOR = 0x10;

  /** An interrupt gate: present, ring 0 (Intel SDM volume 3, figure 7-8). */
  private static final int INTERRUPT_GATE = 0x8e00;

  private KernelModeProbe() {}

  /**
   * Runs it.
   *
   * @param told what CPUID tells the guest
   * @return how the machine ended; {@link Reason#POWER_OFF} when all went well, {@link
   *     Reason#CRASHED} when KVM cannot run the code, {@link Reason#RESET} when the processor
   *     refuses an instruction of it
   * @throws RuntimeException when the machine cannot be made
   * @throws TimeoutException when it did not end in a time that is more than enough
   */
  static VmExit run(KvmHypervisor hypervisor, KvmCpuid told)
      throws InterruptedException, TimeoutException {
    return run(hypervisor, instructions(told));
  }

  /**
   * Likewise, with other instructions.
   *
   * @param instructions in hexadecimal, with a space after each byte but the last
   */
  static VmExit run(KvmHypervisor hypervisor, String instructions)
      throws InterruptedException, TimeoutException {
    byte[] code = HexFormat.ofDelimiter(" ").parseHex(around(instructions));
    MachineSpec spec =
        new MachineSpec(
            "probe", MEMORY, 1, 1024, (memory, hardware) -> load(memory, code), List.of());
    try (KvmVirtualMachine machine = hypervisor.create(spec)) {
      machine.start();
      return machine.exit().get(PATIENCE_SECONDS, TimeUnit.SECONDS);
    } catch (ExecutionException e) {
      throw new AssertionError("an exit never fails", e);
    }
  }

  private static String switchStatesOn(int low, int high) {
    return ("b8 " + bytes(low)) // mov $low, %eax
        + (" ba " + bytes(high)) // mov $high, %edx
        + " 31 c9" // xor %ecx, %ecx
        + " 0f 01 d1"; // xsetbv, of %edx:%eax
  }

  /** Those that a processor may refuse, though CPUID tells of them. */
  static String instructions(KvmCpuid told) {
    int features = 0;
    String allStates = NOP;
    for (int n = 0; n < told.count(); n++) {
      if (told.leaf(n) == 1) {
        features = told.get(n, KvmCpuid.ECX);
      } else if (told.leaf(n) == STATES_LEAF && told.subleaf(n) == 0) {
        // All that CPUID has, as Linux switches them on.
        allStates = switchStatesOn(told.get(n, KvmCpuid.EAX), told.get(n, KvmCpuid.EDX));
      }
    }
    // Every x86-64 processor since 2006, or 2011, has them; a kernel asks before it uses them.
    return String.join(
        " ",
        (features & CMPXCHG16B) != 0 ? CMPXCHG16B_CODE : NOP,
        (features & XSAVE) != 0
            ? String.join(" ", SWITCH_XSAVE_ON_CODE, allStates, XSAVE_CODE)
            : NOP);
  }

  /** As an immediate operand. */
  private static String bytes(int value) {
    byte[] littleEndian =
        ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array();
    return HexFormat.ofDelimiter(" ").formatHex(littleEndian);
  }

  private static String around(String instructions) {
    return String.join(
        " ",
        PREPARE_CODE,
        instructions,
        BREAKPOINT_CODE,
        POWER_OFF_CODE,
        REFUSED_CODE,
        HANDLER_CODE);
  }

  private static InitialState load(GuestMemory memory, byte[] code) {
    memory.putBytes(CODE, code, 0, code.length);
    int handler = CODE + code.length - length(HANDLER_CODE);
    setGate(memory, BREAKPOINT_VECTOR, handler);
    for (int vector : REFUSAL_VECTORS) {
      setGate(memory, vector, handler - length(REFUSED_CODE));
    }
    InitialState longMode = LongMode.enter(memory, CODE, 0);
    return (regs, sregs) -> {
      longMode.apply(regs, sregs);
      sregs.setTable(KvmSregs.IDT, IDT, VECTORS * 16 - 1);
    };
  }

  private static int length(String code) {
    return (code.length() + 1) / 3;
  }

  private static void setGate(GuestMemory memory, int vector, int handler) {
    ByteBuffer gate = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN);
    gate.putShort(0, (short) handler)
        .putShort(2, (short) CODE_SELECTOR)
        .putShort(4, (short) INTERRUPT_GATE)
        .putShort(6, (short) (handler >>> 16));
    memory.putBytes(IDT + vector * 16L, gate.array(), 0, 16);
  }
}
