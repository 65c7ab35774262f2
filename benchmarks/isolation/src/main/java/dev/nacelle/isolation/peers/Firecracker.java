// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.peers;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Firecracker, configured by a file, without its server, as a process of the same user and without
 * its jailer (docs/getting-started.md, docs/vsock.md).
 *
 * @param program firecracker
 */
public record Firecracker(Path program) implements Monitor {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int MIB = 1 << 20;

  /** VIRTIO_BLK_ID_BYTES: virtio 1.2, section 5.2.6.1. */
  private static final int ID_BYTES = 20;

  @Override
  public String name() {
    return "firecracker";
  }

  @Override
  public List<GuestDriver> drivers() {
    return Qemu.MMIO;
  }

  @Override
  public boolean vhostVsock() {
    return false;
  }

  /** It has no power switch: its guests reset in place of it (docs/getting-started.md). */
  @Override
  public boolean powersOff() {
    return false;
  }

  /** Its disks have no serial number but one that it makes of the file's device and inode. */
  @Override
  public GuestDisk guestDisk(VmSpec.Disk disk) throws IOException {
    Map<String, Object> file = Files.readAttributes(disk.image(), "unix:dev,rdev,ino");
    String id = "" + file.get("dev") + file.get("rdev") + file.get("ino");
    return new GuestDisk.VirtioSerial(id.substring(0, Math.min(id.length(), ID_BYTES)));
  }

  @Override
  public List<String> command(VmSpec spec, VmSpec.Linux guest, int cid, Path directory)
      throws IOException {
    if (spec.memory().bytes() % MIB != 0) {
      throw new IOException("Firecracker's machines have whole mebibytes, not " + spec.memory());
    }
    Map<String, Object> boot = new LinkedHashMap<>();
    boot.put("kernel_image_path", guest.kernel().toString());
    guest.initramfs().ifPresent(file -> boot.put("initrd_path", file.toString()));
    // It has no register of ACPI that resets, but the keyboard's controller.
    boot.put("boot_args", KernelParameters.of('k', false, guest.parameters()));
    List<Map<String, Object>> drives = new ArrayList<>();
    for (VmSpec.Disk disk : spec.disks()) {
      drives.add(
          Map.of(
              "drive_id",
              "disk" + drives.size(),
              "path_on_host",
              disk.image().toAbsolutePath().toString(),
              "is_root_device",
              false,
              "is_read_only",
              disk.readOnly(),
              // What the guest flushes is on the disk then, as elsewhere.
              "cache_type",
              "Writeback"));
    }
    Map<String, Object> machine =
        Map.of("vcpu_count", spec.cpus(), "mem_size_mib", spec.memory().bytes() / MIB);
    Map<String, Object> vsock =
        Map.of("guest_cid", cid, "uds_path", directory.resolve("vsock").toString());
    Path file = directory.resolve("config.json");
    Map<String, Object> config =
        Map.of(
            "boot-source",
            boot,
            "drives",
            drives,
            "machine-config",
            machine,
            "vsock",
            vsock,
            "entropy",
            Map.of());
    Files.write(file, JSON.writeValueAsString(config).getBytes(StandardCharsets.UTF_8));
    return List.of(
        program.toString(), "--no-api", "--level", "Error", "--config-file", file.toString());
  }
}
