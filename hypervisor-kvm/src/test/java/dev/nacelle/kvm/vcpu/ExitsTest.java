// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.vcpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HexFormat;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Numbers and offsets are those of struct kvm_run in include/uapi/linux/kvm.h. */
class ExitsTest {
  private static final int SHUTDOWN = 8;
  private static final int INTERNAL_ERROR = 17;

  private static ByteBuffer page() {
    return ByteBuffer.allocate(4096).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** KVM_INTERNAL_ERROR_EMULATION. */
  private static ByteBuffer emulation(int words, long flags, int size) {
    byte[] instruction = HexFormat.of().parseHex("0fae6740");
    return page()
        .putInt(32, 1)
        .putInt(36, words)
        .putLong(40, flags)
        .put(48, (byte) size)
        .put(49, instruction);
  }

  static Stream<Arguments> exits() {
    String failed = "KVM cannot go on with vCPU 3: ";
    String at = ", at instruction 0x1234";
    return Stream.of(
        Arguments.of(SHUTDOWN, page(), Reason.CRASHED, "vCPU 3 had a triple fault" + at),
        Arguments.of(
            24, page().putInt(32, 1), Reason.POWER_OFF, "the guest powered off (system event)"),
        Arguments.of(
            24, page().putInt(32, 2), Reason.RESET, "the guest asked for a reset (system event)"),
        Arguments.of(
            24,
            page().putInt(32, 3),
            Reason.CRASHED,
            "the guest reported that it crashed: event 3"),
        Arguments.of(
            37,
            page().putInt(32, 1),
            Reason.CRASHED,
            "vCPU 3 kept its processor from taking events until the guest's state was lost" + at),
        Arguments.of(
            9,
            page().putLong(32, 0x8000_0021L),
            Reason.HOST_ERROR,
            "the processor refused to enter the guest on vCPU 3: hardware reason 0x80000021" + at),
        Arguments.of(
            0,
            page().putLong(32, 0x1_0000_0007L),
            Reason.HOST_ERROR,
            "KVM does not know why vCPU 3 left the guest: hardware reason 0x100000007" + at),
        Arguments.of(
            INTERNAL_ERROR,
            emulation(4, 1, 4),
            Reason.CRASHED,
            failed + "it cannot emulate an instruction (0f ae 67 40)" + at),
        Arguments.of(
            INTERNAL_ERROR,
            page().putInt(32, 2),
            Reason.CRASHED,
            failed + "simultaneous exceptions" + at),
        Arguments.of(
            INTERNAL_ERROR,
            page().putInt(32, 3),
            Reason.CRASHED,
            failed + "an exit while an event was delivered" + at),
        Arguments.of(
            INTERNAL_ERROR,
            page().putInt(32, 4),
            Reason.CRASHED,
            failed + "an unexpected hardware exit" + at),
        Arguments.of(
            INTERNAL_ERROR, page().putInt(32, 9), Reason.CRASHED, failed + "internal error 9" + at),
        Arguments.of(
            4,
            page(),
            Reason.HOST_ERROR,
            "vCPU 3 left the guest for a reason that was never enabled: debug" + at),
        Arguments.of(
            1000,
            page(),
            Reason.HOST_ERROR,
            "vCPU 3 left the guest for a reason that was never enabled: exit-1000" + at));
  }

  @ParameterizedTest(name = "{0}: {3}")
  @MethodSource("exits")
  void saysWhyTheGuestEnded(int exitReason, ByteBuffer run, Reason reason, String detail) {
    assertEquals(VmExit.of(reason, detail), Exits.describe(exitReason, 3, run, () -> 0x1234));
  }

  @Test
  void saysWhichMemoryTheHostDoesNotProvide() {
    ByteBuffer told = page().putInt(8, 39).putLong(40, 0x5000);
    assertEquals(
        VmExit.of(
            Reason.HOST_ERROR,
            "the host cannot provide the guest's memory at guest physical address 0x5000: a file"
                + " that the guest was given for memory, such as its kernel, became shorter or"
                + " cannot be read, or the host's limit of memory is reached; EFAULT (bad address)"
                + " on vCPU 3, at instruction 0x1234"),
        Exits.describeFailure(14, 3, told, () -> 0x1234));
    assertEquals(
        "the host's memory under the guest's at guest physical address 0x5000 has a hardware error:"
            + " see the host's messages (dmesg), and run the guest anew; EHWPOISON (memory has a"
            + " hardware error) on vCPU 3, at instruction 0x1234",
        Exits.describeFailure(133, 3, told, () -> 0x1234).detail());
    assertEquals(
        "KVM_RUN failed; EBADF (bad file descriptor) on vCPU 3, at instruction 0x1234",
        Exits.describeFailure(9, 3, page(), () -> 0x1234).detail());
  }

  static Stream<ByteBuffer> pagesWithoutAnInstruction() {
    return Stream.of(
        emulation(0, 1, 4), emulation(4, 0, 4), emulation(4, 1, 0), emulation(4, 1, 16));
  }

  @ParameterizedTest
  @MethodSource("pagesWithoutAnInstruction")
  void leavesOutAnInstructionThatKvmDoesNotTell(ByteBuffer run) {
    assertEquals(
        "KVM cannot go on with vCPU 0: it cannot emulate an instruction, at instruction 0x1234",
        Exits.describe(INTERNAL_ERROR, 0, run, () -> 0x1234).detail());
  }

  @Test
  void leavesOutWhereATripleFaultWasOnceTheVcpuIsReset() {
    assertEquals(
        "vCPU 0 had a triple fault", Exits.describe(SHUTDOWN, 0, page(), () -> 0xfff0).detail());
  }
}
