// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.peers;

import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.GuestDriver.Use;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Cloud Hypervisor. Its devices are on PCI with MSI-X, which our own kernel has not: its guests run
 * Debian's.
 *
 * @param program cloud-hypervisor
 */
public record CloudHypervisor(Path program) implements Monitor {
  private static final List<GuestDriver> DRIVERS =
      List.of(
          new GuestDriver("VIRTIO_PCI", "virtio_pci", Use.BUS),
          new GuestDriver("VIRTIO_VSOCKETS", "vmw_vsock_virtio_transport", Use.CONNECTION),
          new GuestDriver("VIRTIO_BLK", "virtio_blk", Use.DISK),
          new GuestDriver("HW_RANDOM_VIRTIO", "virtio_rng", Use.ENTROPY));

  @Override
  public String name() {
    return "cloud-hypervisor";
  }

  @Override
  public List<GuestDriver> drivers() {
    return DRIVERS;
  }

  @Override
  public boolean vhostVsock() {
    return false;
  }

  @Override
  public GuestDisk guestDisk(VmSpec.Disk disk) {
    return new GuestDisk.VirtioSerial(disk.serial());
  }

  @Override
  public List<String> command(VmSpec spec, VmSpec.Linux guest, int cid, Path directory)
      throws IOException {
    List<String> command = new ArrayList<>(List.of(program.toString()));
    command.addAll(List.of("--cpus", "boot=" + spec.cpus()));
    command.addAll(List.of("--memory", "size=" + spec.memory().bytes()));
    command.addAll(List.of("--serial", "tty", "--console", "off", "--rng", "src=/dev/urandom"));
    command.addAll(List.of("--vsock", "cid=" + cid + ",socket=" + directory.resolve("vsock")));
    if (!spec.disks().isEmpty()) {
      command.add("--disk");
    }
    for (VmSpec.Disk disk : spec.disks()) {
      command.add(
          "path="
              + requirePlain(disk.image().toAbsolutePath().toString())
              + ",image_type=raw,readonly="
              + (disk.readOnly() ? "on" : "off")
              + ",serial="
              + requirePlain(disk.serial()));
    }
    command.addAll(List.of("--kernel", guest.kernel().toString()));
    guest.initramfs().ifPresent(file -> command.addAll(List.of("--initramfs", file.toString())));
    command.addAll(List.of("--cmdline", KernelParameters.of('a', true, guest.parameters())));
    return command;
  }

  /** A value of an option: what means something in one is not taken. */
  private static String requirePlain(String value) throws IOException {
    if (value.matches(".*[,=\"\\[\\]].*")) {
      throw new IOException("Cloud Hypervisor takes no comma, '=', quote or bracket in: " + value);
    }
    return value;
  }
}
