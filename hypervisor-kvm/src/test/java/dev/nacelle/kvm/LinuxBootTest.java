// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.HypervisorException;
import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.store.ResolvedKernel;
import dev.nacelle.kernel.store.TestKernels;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Linux kernels, Debian's and our own, from their first instruction to their end. They get no
 * initramfs, so what they boot to is a panic, with all of their drivers initialised.
 */
@Tag("boot")
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class LinuxBootTest {
  private static final long MIB = 1 << 20;

  private final KvmHypervisor hypervisor = new KvmHypervisor(Kvm.open());

  @AfterEach
  void close() {
    hypervisor.close();
  }

  private VirtualMachine create(String ref, long memory, int cpus, String parameters) {
    ResolvedKernel kernel = TestKernels.store().resolve(KernelRef.parse(ref));
    return hypervisor.create(
        VmSpec.builder(
                "boot",
                VmSpec.Linux.builder(kernel.vmlinux())
                    .parameters(parameters)
                    .paravirtualClock(true)
                    .build(),
                DataSize.bytes(memory))
            .cpus(cpus)
            .build());
  }

  @ParameterizedTest
  @ValueSource(strings = {"debian:6.1", "debian:6.12", "nacelle:6.1", "nacelle:6.12"})
  void findsItsDevicesAndBringsUpEveryProcessor(String kernel) throws Exception {
    VirtualMachine machine = create(kernel, 256 * MIB, 2, "ignore_loglevel");
    machine.start();
    assertEquals(VmExit.of(Reason.RESET, "the guest reset the machine"), machine.exit().get());
    String console = machine.console().tail();
    assertTrue(console.contains("smp: Brought up 1 node, 2 CPUs"), console);
    assertTrue(console.contains("ACPI: Interpreter enabled"), console);
    assertTrue(console.contains("ttyS0 at I/O 0x3f8"), console);
    assertTrue(console.contains("Switched to clocksource kvm-clock"), console);
  }

  /** Linux is a PVH image as well: one that was not made here. */
  @Test
  void bootsAsABareImage() throws Exception {
    ResolvedKernel kernel = TestKernels.debian61();
    VirtualMachine machine =
        hypervisor.create(
            VmSpec.builder(
                    "bare",
                    VmSpec.Bare.of(
                        kernel.vmlinux(), "console=ttyS0 panic=-1 reboot=a pci=off bare=yes"),
                    DataSize.mebibytes(128))
                .build());
    machine.start();
    assertEquals(Reason.RESET, machine.exit().get().reason());
    String console = machine.console().tail();
    assertTrue(console.contains("pci=off bare=yes"), console);
    assertTrue(console.contains("Booting paravirtualized kernel on KVM"), console);
    assertTrue(console.contains("not syncing: VFS: Unable to mount root"), console);
  }

  @ParameterizedTest
  @ValueSource(strings = {"debian:6.1", "debian:6.12", "nacelle:6.1", "nacelle:6.12"})
  void bootsWithTheLeastMemoryThatIsAcceptedAndLooksForNothingInVain(String kernel)
      throws Exception {
    HypervisorException e =
        assertThrows(HypervisorException.class, () -> create(kernel, 32 * MIB, 1, ""));
    String remedy = e.remedy().orElseThrow();
    Matcher least = Pattern.compile("at least (\\d+) MiB").matcher(remedy);
    assertTrue(least.find(), remedy);
    VirtualMachine machine = create(kernel, Long.parseLong(least.group(1)) * MIB, 1, "");
    machine.start();
    assertEquals(Reason.RESET, machine.exit().get().reason());
    String console = machine.console().tail();
    assertTrue(console.contains("Kernel panic - not syncing: VFS: Unable to mount root"), console);
    machine
        .statistics()
        .exits()
        .forEach(
            (cause, count) -> {
              // 0x3f8 to 0x3ff: the serial port, where the number depends on what is said.
              if (!cause.startsWith("io:0x3f")) {
                assertTrue(count <= 20, () -> cause + " " + count + " times");
              }
            });
  }

  @Test
  void canBeClosedWhileItBoots() throws Exception {
    VirtualMachine machine = create("debian:6.12", 128 * MIB, 2, "ignore_loglevel");
    CompletableFuture<Void> booting = new CompletableFuture<>();
    machine.console().stream(bytes -> booting.complete(null));
    machine.start();
    booting.get();
    machine.close();
    assertEquals(Reason.CLOSED, machine.exit().get().reason());
  }
}
