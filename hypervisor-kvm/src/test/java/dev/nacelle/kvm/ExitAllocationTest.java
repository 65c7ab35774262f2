// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.VmExit.Reason;
import dev.nacelle.kvm.device.AttachedDevice;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

@Timeout(60)
class ExitAllocationTest {
  private static final int WARM_UP = 10_000;
  private static final int ROUNDS = 20_000;
  private static final int EXITS_OF_A_ROUND = 10;

  @RegisterExtension final TestMachines machines = new TestMachines();

  /** Is written to once a round, and looks what the vCPU's thread has allocated. */
  private static final class Meter implements AttachedDevice {
    private int round;
    private long before;
    private long after;

    @Override
    public long read(long offset, int size) {
      return 0;
    }

    @Override
    public void write(long offset, int size, long value) {
      round++;
      if (round == WARM_UP) {
        before = Allocation.ofThisThread();
      } else if (round == ROUNDS) {
        after = Allocation.ofThisThread();
      }
    }

    @Override
    public void close() {}
  }

  @Test
  void answersExitsOfEachKindWithoutAllocating() throws Exception {
    Meter meter = new Meter();
    KvmVirtualMachine machine =
        machines.start(
            BareGuest.longMode(
                "be 00 00 00 d0", // mov $0xd0000000, %esi: virtio-vsock
                "bf 00 10 00 d0", // mov $0xd0001000, %edi: the meter
                "bd 20 4e 00 00", // mov $ROUNDS, %ebp
                "c7 07 01 00 00 00", // movl $1, (%rdi)
                "8b 46 60", // mov 0x60(%rsi), %eax: InterruptStatus
                "c7 46 30 00 00 00 00", // movl $0, 0x30(%rsi): QueueSel
                "89 e8", // mov %ebp, %eax
                "e6 70 e4 71", // out %al, $0x70; in $0x71, %al: each of the clock's registers
                "e4 64", // in $0x64, %al: keyboard controller
                "ba fd 03 00 00 ec", // mov $0x3fd, %edx; in (%dx), %al: is the serial port ready
                "ba f8 03 00 00 ee", // mov $0x3f8, %edx; out %al, (%dx): a byte to it
                "ba 01 06 00 00 ec", // mov $0x601, %edx; in (%dx), %al: sleep status
                "ba 34 12 00 00 ed", // mov $0x1234, %edx; in (%dx), %eax: no device
                "ff cd", // dec %ebp
                "75 cc", // jnz to movl
                BareGuest.LONG_MODE_POWER_OFF),
            resources -> meter);
    assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
    long exits = machine.statistics().exits().values().stream().mapToLong(Long::longValue).sum();
    assertEquals(ROUNDS * EXITS_OF_A_ROUND + 1, exits);
    // The smallest object has 16 bytes.
    long allocated = meter.after - meter.before;
    assertTrue(allocated < ROUNDS - WARM_UP, () -> allocated + " bytes allocated");
  }
}
