// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.peers;

import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.GuestDriver.Use;
import dev.nacelle.spi.VmSpec;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * QEMU's machine {@code microvm} as people tune it (docs/system/i386/microvm.rst), with a clock:
 * the firmware qboot, devices over virtio-mmio that ACPI announces, vhost for the socket, io_uring
 * and a thread of their own for the disks.
 *
 * @param program qemu-system-x86_64
 * @param network of its machines; empty for none
 */
public record Qemu(Path program, Optional<QemuNetwork> network) implements Monitor {
  private static final String MACHINE = "microvm,acpi=on,pic=off,pit=off,rtc=on,x-option-roms=off";

  /** Of Debian's package qemu-system-data, as of QEMU's own. */
  private static final String FIRMWARE = "qboot.rom";

  /** What machines with virtio-mmio need. */
  static final List<GuestDriver> MMIO =
      List.of(
          new GuestDriver("VIRTIO_MMIO", "virtio_mmio", Use.BUS),
          new GuestDriver("VIRTIO_VSOCKETS", "vmw_vsock_virtio_transport", Use.CONNECTION),
          new GuestDriver("VIRTIO_BLK", "virtio_blk", Use.DISK),
          new GuestDriver("HW_RANDOM_VIRTIO", "virtio_rng", Use.ENTROPY));

  /** Without a network. */
  public Qemu(Path program) {
    this(program, Optional.empty());
  }

  @Override
  public String name() {
    return "qemu";
  }

  @Override
  public List<GuestDriver> drivers() {
    return MMIO;
  }

  @Override
  public boolean vhostVsock() {
    return true;
  }

  @Override
  public GuestDisk guestDisk(VmSpec.Disk disk) {
    return new GuestDisk.VirtioSerial(disk.serial());
  }

  @Override
  public List<String> command(VmSpec spec, VmSpec.Linux guest, int cid, Path directory) {
    List<String> command = new ArrayList<>(List.of(program.toString()));
    command.addAll(List.of("-M", MACHINE, "-bios", FIRMWARE, "-accel", "kvm", "-cpu", "host"));
    command.addAll(List.of("-smp", "" + spec.cpus(), "-m", "size=" + spec.memory().bytes() + "B"));
    command.addAll(List.of("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"));
    command.addAll(List.of("-serial", "stdio", "-global", "virtio-mmio.force-legacy=false"));
    command.addAll(List.of("-device", "vhost-vsock-device,guest-cid=" + cid));
    command.addAll(List.of("-device", "virtio-rng-device"));
    if (!spec.disks().isEmpty()) {
      command.addAll(List.of("-object", "iothread,id=io"));
    }
    for (int i = 0; i < spec.disks().size(); i++) {
      VmSpec.Disk disk = spec.disks().get(i);
      command.addAll(
          List.of(
              "-drive",
              "if=none,id=disk"
                  + i
                  + ",format=raw,aio=io_uring,readonly="
                  + (disk.readOnly() ? "on" : "off")
                  + ",file="
                  + quoted(disk.image().toAbsolutePath().toString()),
              "-device",
              "virtio-blk-device,iothread=io,drive=disk" + i + ",serial=" + quoted(disk.serial())));
    }
    network.ifPresent(how -> command.addAll(how.options(directory, spec.memory().bytes())));
    command.addAll(List.of("-kernel", guest.kernel().toString()));
    guest.initramfs().ifPresent(file -> command.addAll(List.of("-initrd", file.toString())));
    command.addAll(List.of("-append", KernelParameters.of('a', false, guest.parameters())));
    return network.map(how -> how.around(command, directory)).orElse(command);
  }

  /** A value of an option, in which a comma begins the next one. */
  static String quoted(String value) {
    return value.replace(",", ",,");
  }
}
