// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.VmExit.Reason;
import dev.nacelle.kvm.sys.KvmCpuid;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class KernelModeProbeTest {
  private static final int CMPXCHG16B = 1 << 13;
  private static final int XSAVE = 1 << 26;

  @RegisterExtension final TestMachines machines = new TestMachines();

  private static String instructions(int features) {
    KvmCpuid told = KvmCpuid.empty();
    told.add(1, 0, false, 0, 0, features, 0);
    told.add(0xd, 0, true, 0x8000_02e7, 0x240, 0xa88, 0x4000_0001);
    told.add(0xd, 1, true, 0xf, 0, 0x1800, 0);
    return KernelModeProbe.instructions(told);
  }

  @Test
  void switchesOnAllStatesThatCpuidHas() {
    String code = instructions(CMPXCHG16B | XSAVE);
    // mov $0x800002e7, %eax; mov $0x40000001, %edx; xor %ecx, %ecx; xsetbv; xsave; xrstor
    assertTrue(
        code.endsWith("b8 e7 02 00 80 ba 01 00 00 40 31 c9 0f 01 d1 0f ae 67 40 0f ae 6f 40"),
        code);
    assertTrue(code.startsWith("f0 48 0f c7 0f "), code);
  }

  @Test
  void triesNothingThatCpuidDoesNotHave() {
    assertFalse(instructions(CMPXCHG16B).contains("0f 01 d1"));
    assertFalse(instructions(XSAVE).contains("0f c7"));
  }

  /** Whoever emulates it does not come to its end. */
  @Test
  void doesNotSaySoWhereNothingIsRefused() throws Exception {
    Reason end = KernelModeProbe.run(machines.hypervisor(), "90").reason();
    assertTrue(end == Reason.POWER_OFF || end == Reason.CRASHED, end::toString);
  }

  /** What any KVM refuses, also one that emulates the code. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "b9 ff ff ff 7f 0f 30", // mov $0x7fffffff, %ecx; wrmsr: no such register
        "48 c7 c0 00 00 00 80 0f 22 e0" // mov $0xffffffff80000000, %rax; mov %rax, %cr4
      })
  void saysThatTheProcessorRefuses(String instructions) throws Exception {
    assertEquals(Reason.RESET, KernelModeProbe.run(machines.hypervisor(), instructions).reason());
  }
}
