// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.HypervisorException;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.Stage;
import dev.nacelle.kvm.acpi.AcpiTables;
import dev.nacelle.kvm.boot.ElfKernel.Shared;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.Hardware;
import dev.nacelle.kvm.platform.MachineLayout;
import dev.nacelle.kvm.sys.ErrnoException;
import dev.nacelle.kvm.sys.FileDescriptor;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Linux by the 64-bit boot protocol (Documentation/arch/x86/boot.rst, section 1.15), from an
 * uncompressed ELF file, with an initramfs at the end of the memory below 4 GiB.
 */
public final class LinuxKernel implements Payload {
  /** COMMAND_LINE_SIZE of x86, with the terminating zero (arch/x86/include/asm/setup.h). */
  private static final int COMMAND_LINE_SIZE = 2048;

  private static final int PAGE = 4096;
  private static final long MIB = 1 << 20;

  /** Measured with Debian's 6.1 and 6.12: page structures, per-CPU areas, caches. */
  private static final long WORKING_MEMORY = 16 * MIB;

  /**
   * Parameters that take away what a kernel has instead of a PIT: KVM's clock, the local APIC or
   * its timer, the features that it finds them by, or the tables that say how it is wired
   * (Documentation/admin-guide/kernel-parameters.txt; arch/x86/kernel/kvmclock.c, apic/apic.c,
   * cpu/hypervisor.c, cpu/common.c, acpi/boot.c). Whatever follows, none gives back what another
   * took. Not notsc or tsc=unstable, after which KVM's clock still tells the time, and the timer
   * still counts in TSC ticks.
   */
  private static final Pattern WITHOUT_CLOCK_OR_TIMER =
      Pattern.compile(
          "(no-kvmclock|nopv|nolapic|disableapic|nolapic-timer|noapictimer|clearcpuid)(=.*)?"
              + "|lapic=notscdeadline.*|acpi=off");

  private final Path kernel;
  private final @Nullable Path initramfs;
  private final String commandLine;
  private final MemoryPolicy memoryPolicy;
  private final boolean paravirtualClock;

  /**
   * @param kernel the ELF file
   * @param initramfs or null
   * @param parameters the caller's part of the command line
   * @param memoryPolicy whether the kernel is read into huge pages, or mapped; as the memory was
   *     made
   * @param paravirtualClock whether it is known to use KVM's clock
   */
  public LinuxKernel(
      Path kernel,
      @Nullable Path initramfs,
      String parameters,
      MemoryPolicy memoryPolicy,
      boolean paravirtualClock) {
    this.kernel = kernel;
    this.initramfs = initramfs;
    commandLine = CommandLine.of(parameters);
    this.memoryPolicy = memoryPolicy;
    this.paravirtualClock = paravirtualClock;
  }

  /**
   * Linux asks a PIT how fast the TSC and the local APIC's timer run, unless KVM's clock tells it
   * and the timer counts in TSC ticks (arch/x86/kernel/tsc.c, apic.c: apic_needs_pit).
   */
  @Override
  public boolean needsPit(boolean clockAndTimer) {
    return !clockAndTimer
        || !paravirtualClock
        // To the kernel, a name's hyphens and underscores are the same (kernel/params.c).
        || Stream.of(commandLine.replace('_', '-').split("\\s+"))
            .anyMatch(word -> WITHOUT_CLOCK_OR_TIMER.matcher(word).matches());
  }

  @Override
  public InitialState load(GuestMemory memory, Hardware hardware) {
    byte[] line = commandLine.getBytes(StandardCharsets.UTF_8);
    if (line.length >= COMMAND_LINE_SIZE) {
      throw new HypervisorException(
          Stage.CREATE,
          "the kernel command line has "
              + line.length
              + " bytes, of which the machine's own parameters are "
              + CommandLine.MACHINE.length()
              + ", and the kernel takes "
              + (COMMAND_LINE_SIZE - 1),
          "Give fewer or shorter kernel parameters.",
          null);
    }
    try (FileDescriptor file = PayloadFile.open(kernel, "kernel")) {
      ElfKernel elf = ElfKernel.parse(file);
      long initramfsSize = 0;
      long initramfsAddress = 0;
      try (FileDescriptor image =
          initramfs == null ? null : PayloadFile.open(initramfs, "initramfs")) {
        if (image != null) {
          initramfsSize = image.size();
          initramfsAddress = memory.lowEnd() - initramfsSize & -PAGE;
        }
        checkFit(memory, elf.end(), initramfsSize);
        elf.load(
            memory,
            switch (memoryPolicy) {
              case SPEED -> {
                memory.preferHugePages(true);
                yield Shared.CONSTANTS;
              }
              case DENSITY -> {
                memory.preferHugePages(false);
                yield Shared.ALL;
              }
              case HUGE_PAGES -> Shared.NOTHING;
            });
        if (image != null
            && memory.readFrom(image, 0, initramfsAddress, initramfsSize) < initramfsSize) {
          throw new HypervisorException(
              Stage.CREATE,
              "the initramfs " + initramfs + " became shorter while it was read",
              null,
              null);
        }
      }
      memory.putBytes(MachineLayout.COMMAND_LINE, line, 0, line.length);
      long rsdp = AcpiTables.write(memory, hardware);
      ZeroPage.write(memory, rsdp, line.length, initramfsAddress, initramfsSize);
      return LongMode.enter(memory, elf.entry(), MachineLayout.ZERO_PAGE);
    } catch (ElfKernel.BadKernelException e) {
      throw new HypervisorException(
          Stage.CREATE,
          kernel + " is not a kernel that can be loaded: " + e.getMessage(),
          "Give an uncompressed x86-64 ELF kernel (vmlinux).",
          e);
    } catch (ErrnoException e) {
      throw new HypervisorException(
          Stage.CREATE, "cannot read the kernel or its initramfs: " + e.getMessage(), null, e);
    }
  }

  /** The kernel unpacks the initramfs before it frees it, so the memory holds its content twice. */
  private void checkFit(GuestMemory memory, long kernelEnd, long initramfsSize) {
    long needed = kernelEnd + 2 * initramfsSize + WORKING_MEMORY;
    if (memory.size() < needed || memory.lowEnd() - kernelEnd < initramfsSize + PAGE) {
      throw new HypervisorException(
          Stage.CREATE,
          "memory of "
              + memory.size() / MIB
              + " MiB is too small: the kernel "
              + kernel.getFileName()
              + " ends at "
              + roundUpToMib(kernelEnd)
              + " MiB, its initramfs takes "
              + roundUpToMib(initramfsSize)
              + " MiB twice while it is unpacked, and "
              + WORKING_MEMORY / MIB
              + " MiB are the least it starts with besides",
          "Give the virtual machine at least " + roundUpToMib(needed) + " MiB.",
          null);
    }
  }

  private static long roundUpToMib(long bytes) {
    return (bytes + MIB - 1) / MIB;
  }
}
