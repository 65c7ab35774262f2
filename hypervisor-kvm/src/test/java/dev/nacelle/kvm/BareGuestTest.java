// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.kvm.boot.InitialState;
import dev.nacelle.kvm.boot.Payload;
import dev.nacelle.kvm.device.GuestFault;
import dev.nacelle.kvm.device.InterruptLine;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.Hardware;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What guests do, and what they get for it. */
@Timeout(60)
class BareGuestTest {
  @RegisterExtension final TestMachines machines = new TestMachines();

  @Test
  void writesToTheSerialPortWithStringOutput() throws Exception {
    KvmVirtualMachine machine =
        machines.start(
            BareGuest.realMode(
                    "ba f8 03", // mov $0x3f8, %dx
                    "be 00 11", // mov $0x1100, %si
                    "b9 03 00", // mov $3, %cx
                    "fc", // cld
                    "f3 6e", // rep outsb
                    BareGuest.REAL_MODE_POWER_OFF)
                .with(0x1100, "4f 4b 0a")); // "OK\n"
    assertEquals(VmExit.of(Reason.POWER_OFF, "the guest powered itself off"), machine.exit().get());
    assertEquals("OK\n", machine.console().tail());
  }

  @Test
  void findsFastStringsOnAndNothingToSampleWith() throws Exception {
    KvmVirtualMachine machine =
        machines.start(
            BareGuest.realMode(
                "66 b9 a0 01 00 00", // mov $IA32_MISC_ENABLE, %ecx
                "0f 32", // rdmsr
                "ba f8 03", // mov $0x3f8, %dx
                "24 41 0c 40", // and $0x41, %al; or $0x40, %al: 'A' where bit 0 is set
                "ee", // out %al, (%dx)
                "88 e0", // mov %ah, %al
                "24 18 0c 40", // and $0x18, %al; or $0x40, %al: 'X' where bits 11 and 12 are set
                "ee", // out %al, (%dx)
                BareGuest.REAL_MODE_POWER_OFF));
    machine.exit().get();
    assertEquals("AX", machine.console().tail());
  }

  @Test
  void readsAllOnesFromAbsentPorts() throws Exception {
    KvmVirtualMachine machine =
        machines.start(
            BareGuest.realMode(
                "ba 34 12", // mov $0x1234, %dx
                "ec", // in (%dx), %al
                "88 c3", // mov %al, %bl
                "ed", // in (%dx), %ax
                "20 c3 20 e3", // and %al, %bl; and %ah, %bl
                "66 ed", // in (%dx), %eax
                "66 c1 e8 10", // shr $16, %eax
                "20 c3 20 e3", // and %al, %bl; and %ah, %bl
                "80 eb be", // sub $0xbe, %bl: 'A' when all were ones
                "88 d8", // mov %bl, %al
                "ba f8 03", // mov $0x3f8, %dx
                "ee", // out %al, (%dx)
                BareGuest.REAL_MODE_POWER_OFF));
    machine.exit().get();
    assertEquals("A", machine.console().tail());
    assertEquals(3, machine.statistics().exits().get("io:0x1234:in"));
    assertEquals(1, machine.statistics().exits().get("io:0x3f8:out"));
    assertEquals(1, machine.statistics().exits().get("io:0x600:out"));
  }

  @Test
  void reachesADeviceWithAccessesOfEachSize() throws Exception {
    RecordingDevice device = new RecordingDevice();
    KvmVirtualMachine machine =
        machines.start(
            BareGuest.longMode(
                "bf 00 10 00 d0", // mov $0xd0001000, %edi
                "c6 07 11", // movb $0x11, (%rdi)
                "66 c7 47 02 22 22", // movw $0x2222, 2(%rdi)
                "c7 47 04 33 33 33 33", // movl $0x33333333, 4(%rdi)
                "48 b8 44 44 44 44 44 44 44 44", // movabs $0x4444444444444444, %rax
                "48 89 47 08", // mov %rax, 8(%rdi)
                "48 8b 47 10", // mov 16(%rdi), %rax
                "48 89 47 18", // mov %rax, 24(%rdi)
                "0f b6 47 20", // movzbl 32(%rdi), %eax
                "89 47 28", // mov %eax, 40(%rdi)
                BareGuest.LONG_MODE_POWER_OFF),
            resources -> device);
    assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
    assertEquals("write 0 1 11", device.next());
    assertEquals("write 2 2 2222", device.next());
    assertEquals("write 4 4 33333333", device.next());
    assertEquals("write 8 8 4444444444444444", device.next());
    assertEquals("read 16 8", device.next());
    assertEquals("write 24 8 8877665544332211", device.next());
    assertEquals("read 32 1", device.next());
    assertEquals("write 40 4 11", device.next());
    assertEquals("close", device.next());
    assertEquals(1, machine.statistics().exits().get("mmio:0xd0001010:read"));
    assertEquals(1, machine.statistics().exits().get("mmio:0xd0001018:write"));
  }

  @Test
  void readsAllOnesWhereNoDeviceIs() throws Exception {
    RecordingDevice device = new RecordingDevice();
    KvmVirtualMachine machine =
        machines.start(
            BareGuest.longMode(
                "bf 00 10 00 d0", // mov $0xd0001000, %edi
                "bb 00 00 10 d0", // mov $0xd0100000, %ebx
                "48 8b 03", // mov (%rbx), %rax
                "48 89 03", // mov %rax, (%rbx)
                "48 89 47 30", // mov %rax, 48(%rdi)
                BareGuest.LONG_MODE_POWER_OFF),
            resources -> device);
    assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
    assertEquals("write 48 8 ffffffffffffffff", device.next());
  }

  @Test
  void takesADevicesInterrupt() throws Exception {
    // The second device has interrupt 6 (MachineLayout.deviceGsi).
    AtomicReference<InterruptLine> line = new AtomicReference<>(() -> {});
    KvmVirtualMachine machine =
        machines.create(
            BareGuest.realMode(
                    "b0 11 e6 20", // mov $0x11, %al; out %al, $0x20: initialise the PIC
                    "b0 20 e6 21", // interrupt 0 is vector 0x20
                    "b0 04 e6 21", // the other PIC is at interrupt 2
                    "b0 01 e6 21", // 8086 mode
                    "b0 bf e6 21", // interrupt 6 only
                    "b0 52", // mov $'R', %al
                    "ba f8 03", // mov $0x3f8, %dx
                    "ee", // out %al, (%dx)
                    "fb", // sti
                    "f4", // hlt
                    "eb fd") // jmp to hlt
                .with(0x26 * 4, "00 20 00 00") // vector 0x26: 0000:2000
                .with(
                    0x2000,
                    "b0 49", // mov $'I', %al
                    "ee", // out %al, (%dx)
                    BareGuest.REAL_MODE_POWER_OFF),
            resources -> {
              line.set(resources.interrupt());
              return new RecordingDevice();
            });
    CompletableFuture<Void> ready = new CompletableFuture<>();
    machine.console().stream(bytes -> ready.complete(null));
    machine.start();
    ready.get();
    line.get().raise();
    assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
    assertEquals("RI", machine.console().tail());
    line.get().raise();
  }

  @Test
  void takesNoInterruptFromThePicsThatItHasNotInitialised() throws Exception {
    // As vector 4 it would be an overflow: with no handler for anything, the end of the guest.
    KvmVirtualMachine machine =
        machines.start(
            BareGuest.longMode(
                "be 00 00 e0 fe", // mov $0xfee00000, %esi: local APIC
                "c7 86 f0 00 00 00 ff 01 00 00", // movl $0x1ff, 0xf0(%rsi): enable it
                "fb", // sti
                "ba f9 03 00 00", // mov $0x3f9, %edx
                "b0 02 ee", // mov $2, %al; out %al, (%dx): whenever it can take a byte
                "b2 fc b0 08 ee", // mov $0xfc, %dl; mov $8, %al; out: OUT2, so it raises interrupt
                // 4
                "90",
                BareGuest.LONG_MODE_POWER_OFF));
    assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
  }

  @ParameterizedTest
  @ValueSource(ints = {0x20, 0xa0})
  void findsAllLinesOfBothPicsMasked(int pic) throws Exception {
    KvmVirtualMachine machine =
        machines.start(
            BareGuest.realMode(
                String.format("e4 %02x", pic + 1), // in, %al: the interrupt mask register
                "3c ff 75 07", // cmp $0xff, %al; jne to the reset
                BareGuest.REAL_MODE_POWER_OFF,
                "ba 02 06 b0 01 ee f4"));
    assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
  }

  /** What a guest reads of channel 2's status, having asked for it: 0xff without a PIT. */
  private VmExit askForAPit(boolean needed) throws Exception {
    BareGuest guest =
        BareGuest.realMode(
            "b0 e8 e6 43", // mov $0xe8, %al; out %al, $0x43: read back channel 2's status
            "e4 42", // in $0x42, %al
            "3c ff 74 07", // cmp $0xff, %al; je to the reset
            BareGuest.REAL_MODE_POWER_OFF,
            "ba 02 06 b0 01 ee f4"); // mov $0x602, %dx; mov $1, %al; out; hlt
    return machines
        .start(
            new Payload() {
              @Override
              public InitialState load(GuestMemory memory, Hardware hardware) {
                return guest.load(memory, hardware);
              }

              @Override
              public boolean needsPit(boolean clockAndTimer) {
                return needed;
              }
            })
        .exit()
        .get();
  }

  @Test
  void hasAPitWhereItNeedsOne() throws Exception {
    assertEquals(Reason.POWER_OFF, askForAPit(true).reason());
    assertEquals(Reason.RESET, askForAPit(false).reason());
    assertTrue(BareGuest.realMode("f4").needsPit(true), "what it is, is not known");
  }

  @Test
  void ringsADoorbellWithoutLeavingTheGuest() throws Exception {
    RecordingDevice device = new RecordingDevice();
    KvmVirtualMachine machine =
        machines.start(
            BareGuest.longMode(
                "bf 00 10 00 d0", // mov $0xd0001000, %edi
                "c7 47 50 01 00 00 00", // movl $1, 0x50(%rdi)
                "c7 47 50 02 00 00 00", // movl $2, 0x50(%rdi)
                "f3 90 eb fc"), // pause, for ever
            resources -> {
              resources.doorbell(0x50, 1, () -> device.record("doorbell"));
              return device;
            });
    List<String> seen = new ArrayList<>(List.of(device.next(), device.next()));
    seen.sort(null);
    assertEquals(List.of("doorbell", "write 80 4 2"), seen);
    machine.close();
    assertEquals(1, machine.statistics().exits().get("mmio:0xd0001050:write"));
  }

  @Test
  void startsASecondProcessor() throws Exception {
    KvmVirtualMachine machine =
        machines.create(
            2,
            BareGuest.longMode(
                    "be 00 00 e0 fe", // mov $0xfee00000, %esi: local APIC
                    "c7 86 f0 00 00 00 ff 01 00 00", // movl $0x1ff, 0xf0(%rsi): enable it
                    "c7 86 10 03 00 00 00 00 00 01", // movl $0x1000000, 0x310(%rsi): to APIC 1
                    "c7 86 00 03 00 00 00 45 00 00", // movl $0x4500, 0x300(%rsi): INIT
                    "c7 86 10 03 00 00 00 00 00 01", // movl $0x1000000, 0x310(%rsi)
                    "c7 86 00 03 00 00 08 46 00 00", // movl $0x4608, 0x300(%rsi): start at 0x8000
                    "f3 90", // pause
                    "80 3c 25 00 8f 00 00 5a", // cmpb $0x5a, 0x8f00
                    "75 f4", // jne to pause
                    BareGuest.LONG_MODE_POWER_OFF)
                .with(
                    0x8000,
                    "b0 32", // mov $'2', %al
                    "ba f8 03", // mov $0x3f8, %dx
                    "ee", // out %al, (%dx)
                    "2e c6 06 00 0f 5a", // movb $0x5a, %cs:0xf00
                    "fa f4 eb fc")); // cli; hlt, for ever
    machine.start();
    assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
    assertEquals("2", machine.console().tail());
  }

  @Test
  void endsByATripleFault() throws Exception {
    // No exception has a handler, so the first is a double fault, which is a triple fault.
    KvmVirtualMachine machine = machines.start(BareGuest.longMode("0f 0b")); // ud2
    VmExit exit = machine.exit().get();
    assertEquals(Reason.CRASHED, exit.reason());
    assertTrue(exit.detail().startsWith("vCPU 0 had a triple fault"), exit::detail);
    assertEquals(1, machine.statistics().exits().get("shutdown"));
  }

  @Test
  void endsWhenItExecutesWhatIsNotMemory() throws Exception {
    KvmVirtualMachine machine =
        machines.start(
            BareGuest.longMode(
                "b8 00 00 10 d0", // mov $0xd0100000, %eax
                "ff e0")); // jmp *%rax
    VmExit exit = machine.exit().get();
    assertEquals(Reason.CRASHED, exit.reason());
    assertTrue(exit.detail().contains("at instruction 0xd0100000"), exit::detail);
  }

  @Test
  void resetsByTheResetRegister() throws Exception {
    assertReset("ba 02 06 b0 01 ee f4"); // mov $0x602, %dx; mov $1, %al; out; hlt
  }

  @Test
  void resetsByTheKeyboardControllersPulse() throws Exception {
    assertReset("b0 fe e6 64 f4"); // mov $0xfe, %al; out %al, $0x64; hlt
  }

  @Test
  void resetsByTheKeyboardControllersOutputPort() throws Exception {
    assertReset("b0 d1 e6 64 b0 fe e6 60 f4"); // 0xd1 to port 0x64, 0xfe to port 0x60
  }

  private void assertReset(String code) throws Exception {
    KvmVirtualMachine machine = machines.start(BareGuest.realMode(code));
    assertEquals(VmExit.of(Reason.RESET, "the guest reset the machine"), machine.exit().get());
  }

  @Test
  void endsByItsFaultWhileOthersRun() throws Exception {
    RecordingDevice healthy = new RecordingDevice();
    KvmVirtualMachine other =
        machines.start(
            BareGuest.longMode(
                "bf 00 10 00 d0", // mov $0xd0001000, %edi
                "c6 07 11", // movb $0x11, (%rdi)
                "eb fb"), // jmp to movb
            resources -> healthy);
    KvmVirtualMachine faulty =
        machines.start(
            BareGuest.longMode("bf 00 10 00 d0 c6 07 11", BareGuest.SPIN),
            resources ->
                new RecordingDevice() {
                  @Override
                  public void write(long offset, int size, long value) {
                    throw new GuestFault("test device: no driver writes here");
                  }
                });
    assertEquals(
        VmExit.of(Reason.GUEST_FAULT, "test device: no driver writes here"), faulty.exit().get());
    faulty.close();
    assertEquals("write 0 1 11", healthy.next());
    assertEquals("write 0 1 11", healthy.next());
    other.close();
    assertEquals(Reason.CLOSED, other.exit().get().reason());
  }

  @Test
  void endsWhenADeviceTouchesMemoryThatTheGuestDoesNotHave() throws Exception {
    KvmVirtualMachine machine =
        machines.start(
            BareGuest.longMode("bf 00 10 00 d0 c6 07 11", BareGuest.SPIN),
            resources ->
                new RecordingDevice() {
                  @Override
                  public void write(long offset, int size, long value) {
                    int ignored = resources.memory().getInt(TestMachines.MEMORY);
                  }
                });
    assertEquals(
        VmExit.of(
            Reason.GUEST_FAULT,
            "not in the guest's RAM: 4 bytes at guest physical address 0x200000"),
        machine.exit().get());
  }

  @Test
  void endsWhenADeviceFailsOnTheEventLoop() throws Exception {
    KvmVirtualMachine machine =
        machines.create(
            BareGuest.realMode(BareGuest.SPIN),
            resources -> {
              boolean accepted =
                  resources.execute(
                      () -> {
                        throw new IllegalArgumentException("expected");
                      });
              assertTrue(accepted);
              return new RecordingDevice();
            });
    VmExit exit = machine.exit().get();
    assertEquals(Reason.HOST_ERROR, exit.reason());
    assertTrue(
        exit.detail().startsWith("java.lang.IllegalArgumentException: expected at "), exit::detail);
  }

  /** As the memory for the words may be lacking. */
  private static final class Indescribable extends RuntimeException {
    private static final long serialVersionUID = 1L;

    @Override
    public String getMessage() {
      throw new OutOfMemoryError("expected");
    }
  }

  @Test
  void endsByAFailureThatCannotBeDescribed() throws Exception {
    KvmVirtualMachine onVcpu =
        machines.start(
            BareGuest.longMode("bf 00 10 00 d0 c6 07 11", BareGuest.SPIN),
            resources ->
                new RecordingDevice() {
                  @Override
                  public void write(long offset, int size, long value) {
                    throw new Indescribable();
                  }
                });
    assertEquals(Reason.HOST_ERROR, onVcpu.exit().get().reason());
    KvmVirtualMachine onLoop =
        machines.create(
            BareGuest.realMode(BareGuest.SPIN),
            resources -> {
              boolean ignored =
                  resources.execute(
                      () -> {
                        throw new Indescribable();
                      });
              return new RecordingDevice();
            });
    assertEquals(Reason.HOST_ERROR, onLoop.exit().get().reason());
  }
}
