// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.vcpu;

import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.KvmRegs;
import dev.nacelle.kvm.sys.KvmRun;
import dev.nacelle.kvm.sys.KvmVcpu;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.function.LongSupplier;

/** What an exit that ends the guest means (KVM API section 5). */
final class Exits {
  // Suberrors of KVM_EXIT_INTERNAL_ERROR (include/uapi/linux/kvm.h).
  private static final int SUBERROR_EMULATION = 1;
  private static final int SUBERROR_SIMULTANEOUS_EXCEPTION = 2;
  private static final int SUBERROR_DELIVERY = 3;
  private static final int SUBERROR_UNEXPECTED_EXIT = 4;

  /** The longest instruction of x86. */
  private static final int MAX_INSTRUCTION = 15;

  /** RIP after a reset (Intel SDM volume 3, table 10-1). */
  private static final int RESET_VECTOR = 0xfff0;

  private Exits() {}

  /** Describes the exit that a vCPU just had. */
  static VmExit describe(int reason, int vcpu, KvmVcpu kvm) {
    return describe(reason, vcpu, kvm.run(), () -> instructionPointer(kvm));
  }

  /**
   * @param run what KVM says of the exit, laid out as {@link KvmRun} says
   * @param rip the vCPU's instruction pointer
   */
  static VmExit describe(int reason, int vcpu, ByteBuffer run, LongSupplier rip) {
    return switch (reason) {
      case KvmRun.EXIT_SHUTDOWN ->
          VmExit.of(Reason.CRASHED, "vCPU " + vcpu + " had a triple fault" + atUnlessReset(rip));
      case KvmRun.EXIT_SYSTEM_EVENT -> systemEvent(run.getInt(KvmRun.SYSTEM_EVENT_TYPE));
      case KvmRun.EXIT_INTERNAL_ERROR ->
          VmExit.of(
              Reason.CRASHED, "KVM cannot go on with vCPU " + vcpu + ": " + error(run) + at(rip));
      case KvmRun.EXIT_NOTIFY ->
          VmExit.of(
              Reason.CRASHED,
              "vCPU "
                  + vcpu
                  + " kept its processor from taking events until the guest's state was lost"
                  + at(rip));
      case KvmRun.EXIT_FAIL_ENTRY ->
          VmExit.of(
              Reason.HOST_ERROR,
              "the processor refused to enter the guest on vCPU "
                  + vcpu
                  + ": hardware reason 0x"
                  + Long.toHexString(run.getLong(KvmRun.FAIL_ENTRY_HARDWARE_REASON))
                  + at(rip));
      case KvmRun.EXIT_UNKNOWN ->
          VmExit.of(
              Reason.HOST_ERROR,
              "KVM does not know why vCPU "
                  + vcpu
                  + " left the guest: hardware reason 0x"
                  + Long.toHexString(run.getLong(KvmRun.UNKNOWN_HARDWARE_REASON))
                  + at(rip));
      default ->
          VmExit.of(
              Reason.HOST_ERROR,
              "vCPU "
                  + vcpu
                  + " left the guest for a reason that was never enabled: "
                  + ExitReason.name(reason)
                  + at(rip));
    };
  }

  /** Describes why a vCPU could not run. */
  static VmExit describeFailure(int errno, int vcpu, KvmVcpu kvm) {
    return describeFailure(errno, vcpu, kvm.run(), () -> instructionPointer(kvm));
  }

  /** As {@link #describeFailure(int, int, KvmVcpu)}, from what KVM says. */
  static VmExit describeFailure(int errno, int vcpu, ByteBuffer run, LongSupplier rip) {
    String which =
        run.getInt(KvmRun.EXIT_REASON) == KvmRun.EXIT_MEMORY_FAULT
            ? " at guest physical address 0x"
                + Long.toHexString(run.getLong(KvmRun.MEMORY_FAULT_ADDRESS))
            : "";
    String what =
        switch (errno) {
          case Errno.EFAULT ->
              "the host cannot provide the guest's memory"
                  + which
                  + ": a file that the guest was given for memory, such as its kernel, became"
                  + " shorter or cannot be read, or the host's limit of memory is reached";
          case Errno.EHWPOISON ->
              "the host's memory under the guest's"
                  + which
                  + " has a hardware error: see the host's messages (dmesg), and run the guest"
                  + " anew";
          default -> "KVM_RUN failed";
        };
    String described = Errno.describe(errno);
    return VmExit.of(Reason.HOST_ERROR, what + "; " + described + " on vCPU " + vcpu + at(rip));
  }

  private static VmExit systemEvent(int type) {
    return switch (type) {
      case KvmRun.SYSTEM_EVENT_SHUTDOWN ->
          VmExit.of(Reason.POWER_OFF, "the guest powered off (system event)");
      case KvmRun.SYSTEM_EVENT_RESET ->
          VmExit.of(Reason.RESET, "the guest asked for a reset (system event)");
      default -> VmExit.of(Reason.CRASHED, "the guest reported that it crashed: event " + type);
    };
  }

  private static String error(ByteBuffer run) {
    int suberror = run.getInt(KvmRun.INTERNAL_SUBERROR);
    return switch (suberror) {
      case SUBERROR_EMULATION -> "it cannot emulate an instruction" + instruction(run);
      case SUBERROR_SIMULTANEOUS_EXCEPTION -> "simultaneous exceptions";
      case SUBERROR_DELIVERY -> "an exit while an event was delivered";
      case SUBERROR_UNEXPECTED_EXIT -> "an unexpected hardware exit";
      default -> "internal error " + suberror;
    };
  }

  private static String instruction(ByteBuffer run) {
    boolean told =
        run.getInt(KvmRun.INTERNAL_COUNT) > 0
            && (run.getLong(KvmRun.EMULATION_FLAGS) & KvmRun.EMULATION_FLAG_INSTRUCTION) != 0;
    int size = run.get(KvmRun.EMULATION_INSTRUCTION_SIZE);
    if (!told || size <= 0 || size > MAX_INSTRUCTION) {
      return "";
    }
    byte[] bytes = new byte[size];
    run.get(KvmRun.EMULATION_INSTRUCTION, bytes);
    return " (" + HexFormat.ofDelimiter(" ").formatHex(bytes) + ")";
  }

  /** On AMD processors, KVM has reset the vCPU by now: it cannot know better where it was. */
  private static String atUnlessReset(LongSupplier rip) {
    return rip.getAsLong() == RESET_VECTOR ? "" : at(rip);
  }

  private static String at(LongSupplier rip) {
    return ", at instruction 0x" + Long.toHexString(rip.getAsLong());
  }

  private static long instructionPointer(KvmVcpu kvm) {
    KvmRegs regs = new KvmRegs();
    kvm.get(regs);
    return regs.get(KvmRegs.RIP);
  }
}
