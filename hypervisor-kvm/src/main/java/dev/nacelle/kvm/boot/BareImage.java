// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.kvm.acpi.AcpiTables;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.Hardware;
import dev.nacelle.kvm.platform.MachineLayout;
import dev.nacelle.kvm.sys.ErrnoException;
import dev.nacelle.kvm.sys.FileDescriptor;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.OptionalLong;

/**
 * An ELF64 executable that is not Linux. One with a PVH entry (the note XEN_ELFNOTE_PHYS32_ENTRY)
 * starts there, in 32-bit mode, with EBX pointing to struct hvm_start_info; any other starts at its
 * ELF entry as Linux does by the 64-bit boot protocol, with RSI pointing to the zero page. Both are
 * given the memory map, the command line and the ACPI tables.
 */
public final class BareImage implements Payload {
  /** As much as Linux takes, so that an image may be started by either protocol. */
  private static final int MAX_COMMAND_LINE = 2047;

  private static final long MIB = 1 << 20;

  private final Path image;
  private final String commandLine;

  /**
   * @param image the ELF file
   * @param commandLine without its terminating zero
   */
  public BareImage(Path image, String commandLine) {
    this.image = image;
    this.commandLine = commandLine;
  }

  @Override
  public boolean hasExitPort() {
    return true;
  }

  @Override
  public InitialState load(GuestMemory memory, Hardware hardware) {
    byte[] line = commandLine.getBytes(StandardCharsets.UTF_8);
    if (line.length > MAX_COMMAND_LINE) {
      throw new HypervisorException(
          Stage.CREATE,
          "the command line has "
              + line.length
              + " bytes; at most "
              + MAX_COMMAND_LINE
              + " are handed over",
          "Give a shorter one.",
          null);
    }
    try (FileDescriptor file = PayloadFile.open(image, "image")) {
      ElfKernel elf = ElfKernel.parse(file);
      if (elf.end() > memory.lowEnd()) {
        throw new HypervisorException(
            Stage.CREATE,
            "memory of "
                + memory.size() / MIB
                + " MiB is too small: the image "
                + image
                + " ends at "
                + (elf.end() + MIB - 1) / MIB
                + " MiB",
            "Give the virtual machine more, and its stacks and heap besides.",
            null);
      }
      OptionalLong pvhEntry = elf.pvhEntry();
      elf.load(memory, ElfKernel.Shared.NOTHING);
      memory.putBytes(MachineLayout.COMMAND_LINE, line, 0, line.length);
      long rsdp = AcpiTables.write(memory, hardware);
      if (pvhEntry.isPresent()) {
        StartInfo.write(memory, rsdp);
        return ProtectedMode.enter(pvhEntry.getAsLong(), MachineLayout.START_INFO);
      }
      ZeroPage.write(memory, rsdp, line.length, 0, 0);
      return LongMode.enter(memory, elf.entry(), MachineLayout.ZERO_PAGE);
    } catch (ElfKernel.BadKernelException e) {
      throw new HypervisorException(
          Stage.CREATE,
          image + " is not an image that can be started: " + e.getMessage(),
          "Give an ELF64 executable for x86-64, linked to run from 1 MiB on; also one whose PVH"
              + " entry is 32-bit code has to be ELF64.",
          e);
    } catch (ErrnoException e) {
      throw new HypervisorException(
          Stage.CREATE, "cannot read the image: " + e.getMessage(), null, e);
    }
  }
}
