// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import dev.nacelle.MemoryPolicy;
import dev.nacelle.RateLimits;
import dev.nacelle.SandboxSpec;
import dev.nacelle.VmExit;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The hardware of one virtual machine and what it boots.
 *
 * @param name for messages and thread names; at most 64 characters of {@code [A-Za-z0-9._-]}
 * @param guest what it boots
 * @param memoryBytes size of the guest's memory in bytes; a multiple of 4096
 * @param cpus number of vCPUs, at least 1
 * @param disks block devices
 * @param consoleBytes how much of the end of the console's output is kept, in bytes
 * @param rateLimits how much the guest may have of its devices
 * @param coreScheduling whether, where the host can see to that, a core runs nothing else while it
 *     runs vCPUs of this machine: with SMT it could run two threads, which see traces of each other
 */
public record VmSpec(
    String name,
    Guest guest,
    long memoryBytes,
    int cpus,
    List<Disk> disks,
    int consoleBytes,
    RateLimits rateLimits,
    boolean coreScheduling) {

  /** Default of {@link #consoleBytes()}. */
  public static final int DEFAULT_CONSOLE_BYTES = 64 * 1024;

  /**
   * Checks what no hypervisor could accept.
   *
   * @throws IllegalArgumentException when a component is out of the bounds stated for it, or two
   *     disks share a serial
   */
  public VmSpec {
    if (!name.matches("[A-Za-z0-9._-]{1,64}")) {
      throw new IllegalArgumentException("not a virtual machine's name: " + name);
    }
    if (memoryBytes <= 0 || memoryBytes % 4096 != 0) {
      throw new IllegalArgumentException(
          "memory is not a positive multiple of 4096 bytes: " + memoryBytes);
    }
    if (cpus < 1) {
      throw new IllegalArgumentException("a virtual machine needs at least one vCPU, not " + cpus);
    }
    if (consoleBytes < 1024) {
      throw new IllegalArgumentException(
          "the console keeps at least 1024 bytes, not " + consoleBytes);
    }
    disks = List.copyOf(disks);
    Set<String> serials = new HashSet<>();
    for (Disk disk : disks) {
      if (!serials.add(disk.serial())) {
        throw new IllegalArgumentException("two disks have the serial number " + disk.serial());
      }
    }
  }

  /** Without limits of rates, with core scheduling. */
  public VmSpec(
      String name, Guest guest, long memoryBytes, int cpus, List<Disk> disks, int consoleBytes) {
    this(name, guest, memoryBytes, cpus, disks, consoleBytes, RateLimits.NONE, true);
  }

  /** What a virtual machine boots. */
  public sealed interface Guest permits Linux, Bare {}

  /**
   * A Linux kernel.
   *
   * @param kernel an uncompressed ELF64 kernel ({@code vmlinux}) for this host's architecture. The
   *     file must not change while machines run it, which may have pages of it for memory; it may
   *     be deleted or replaced by another.
   * @param initramfs an initramfs, or null for a kernel that needs none
   * @param parameters the workload's part of the kernel command line, at most {@value
   *     #MAX_PARAMETERS} bytes; the hypervisor adds what its devices need (console, reboot method,
   *     ...)
   * @param memoryPolicy what the host's memory is spent on, as far as the hypervisor has the choice
   * @param paravirtualClock whether the kernel is known to keep time by the hypervisor's own clock
   *     (CONFIG_KVM_GUEST under KVM), so that the machine need not have a timer chip for it
   */
  public record Linux(
      Path kernel,
      @Nullable Path initramfs,
      String parameters,
      MemoryPolicy memoryPolicy,
      boolean paravirtualClock)
      implements Guest {
    /**
     * How many bytes of parameters every hypervisor takes: of the 2047 that the kernel takes on
     * x86-64 (COMMAND_LINE_SIZE), what is left to the workload.
     */
    public static final int MAX_PARAMETERS = SandboxSpec.MAXIMUM_KERNEL_PARAMETERS;

    /** A kernel of which it is not known whether it has a paravirtual clock. */
    public Linux(
        Path kernel, @Nullable Path initramfs, String parameters, MemoryPolicy memoryPolicy) {
      this(kernel, initramfs, parameters, memoryPolicy, false);
    }

    /**
     * Checks the parameters.
     *
     * @throws IllegalArgumentException when they have more than {@value #MAX_PARAMETERS} bytes, or
     *     a control character
     */
    public Linux {
      requirePrintable("the kernel parameters hold", parameters);
      int bytes = parameters.getBytes(StandardCharsets.UTF_8).length;
      if (bytes > MAX_PARAMETERS) {
        throw new IllegalArgumentException(
            "the kernel parameters have " + bytes + " bytes, more than " + MAX_PARAMETERS);
      }
    }
  }

  /**
   * Any other program that runs without an operating system below it, as unikernels do. It may end
   * its machine with a status of its own: {@link VmExit.Reason#EXITED}.
   *
   * @param image an ELF64 executable for this host's architecture; hypervisors say in which state
   *     it starts, and with which devices
   * @param commandLine handed to it as it is, with a NUL at its end
   */
  public record Bare(Path image, String commandLine) implements Guest {
    /**
     * Checks the command line.
     *
     * @throws IllegalArgumentException when it holds a control character
     */
    public Bare {
      requirePrintable("the command line holds", commandLine);
    }
  }

  /** A NUL would cut a command line, silently. */
  private static void requirePrintable(String subject, String line) {
    if (line.chars().anyMatch(Character::isISOControl)) {
      throw new IllegalArgumentException(subject + " a control character");
    }
  }

  /**
   * A block device backed by a raw image. The hypervisor has opened the image when {@link
   * Hypervisor#create} returns; its name may be taken away from then on. Until the machine is
   * closed nobody else has an image that is written to: create refuses one that another disk has,
   * of this process or another, unless both only read.
   *
   * @param serial what the guest finds it by (VIRTIO_BLK_T_GET_ID, virtio 1.2 section 5.2.6.1): 1
   *     to 20 printable ASCII characters without space
   * @param image the raw image, a regular file; its size is a multiple of 512 bytes
   * @param readOnly whether writes are refused; enforced on the host
   */
  public record Disk(String serial, Path image, boolean readOnly) {
    /** Checks the serial number. */
    public Disk {
      if (!serial.matches("[\\x21-\\x7e]{1,20}")) {
        throw new IllegalArgumentException("not a disk's serial number: " + serial);
      }
    }
  }
}
