// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.peers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.nacelle.DataSize;
import dev.nacelle.kvm.boot.NacelleCommandLine;
import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.VmSpec;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What each monitor is asked for. */
class MonitorTest {
  private static final VmSpec.Linux KERNEL =
      VmSpec.Linux.builder(Path.of("/k/vmlinux"))
          .initramfs(Path.of("/k/init"))
          .parameters("quiet")
          .build();

  @TempDir Path directory;

  private static VmSpec spec(VmSpec.Disk... disks) {
    return VmSpec.builder("peer", KERNEL, DataSize.mebibytes(96))
        .cpus(2)
        .disks(List.of(disks))
        .build();
  }

  /** What follows an option. */
  private static String after(List<String> command, String option) {
    assertTrue(command.contains(option), command.toString());
    return command.get(command.indexOf(option) + 1);
  }

  @Test
  void kernelIsToldWhatNacelleTells() {
    assertEquals(NacelleCommandLine.of(" a=1 b "), KernelParameters.of('a', false, " a=1 b "));
    assertEquals(NacelleCommandLine.of(""), KernelParameters.of('a', false, ""));
    assertFalse(KernelParameters.of('a', true, "").contains("pci=off"));
    assertTrue(KernelParameters.of('k', false, "").contains("reboot=k"));
  }

  @Test
  void qemuHasTheDisksBySerialNumberAndCommasAreDoubled() {
    List<String> command =
        new Qemu(Path.of("/bin/qemu"))
            .command(
                spec(
                    VmSpec.Disk.of("root,fs", Path.of("/a,b/image"), true),
                    VmSpec.Disk.of("scratch", Path.of("/c"), false)),
                KERNEL,
                77,
                directory);
    assertEquals("/bin/qemu", command.get(0));
    assertEquals("size=" + (96 << 20) + "B", after(command, "-m"));
    assertEquals("2", after(command, "-smp"));
    assertTrue(command.contains("vhost-vsock-device,guest-cid=77"));
    assertTrue(
        command.contains("if=none,id=disk0,format=raw,aio=io_uring,readonly=on,file=/a,,b/image"));
    assertTrue(command.contains("virtio-blk-device,iothread=io,drive=disk0,serial=root,,fs"));
    assertTrue(command.contains("virtio-blk-device,iothread=io,drive=disk1,serial=scratch"));
    assertEquals("/k/vmlinux", after(command, "-kernel"));
    assertEquals("/k/init", after(command, "-initrd"));
    assertEquals(NacelleCommandLine.of("quiet"), after(command, "-append"));
  }

  @Test
  void qemuHasNetworksAsTheyAreWanted() {
    VmSpec spec = spec();
    List<String> own = networked(new QemuNetwork.Slirp(1500), spec);
    assertEquals("/bin/qemu", own.get(0));
    assertEquals("user,id=net,ipv6=off", after(own, "-netdev"));

    String socket = directory.resolve("passt").toString();
    Path program = Path.of("/bin/passt");
    List<String> stream = networked(new QemuNetwork.Passt(program, false, 1500), spec);
    // The shell's words: passt, its socket, the MTU, one more option, then QEMU's.
    assertEquals(List.of("sh", "-c"), stream.subList(0, 2));
    assertEquals(
        List.of("/bin/passt", socket, "1500", "--ipv4-only", "/bin/qemu"), stream.subList(3, 8));
    assertTrue(after(stream, "-netdev").endsWith("addr.path=" + socket));

    List<String> vhost = networked(new QemuNetwork.Passt(program, true, 65_520), spec);
    assertEquals(
        List.of("/bin/passt", socket, "65520", "--vhost-user", "/bin/qemu"), vhost.subList(3, 8));
    assertEquals("vhost-user,id=net,chardev=passt", after(vhost, "-netdev"));
    assertTrue(vhost.contains("memory-backend-memfd,id=shared,share=on,size=" + (96 << 20) + "B"));
  }

  private List<String> networked(QemuNetwork network, VmSpec spec) {
    return new Qemu(Path.of("/bin/qemu"), Optional.of(network))
        .command(spec, KERNEL, 77, directory);
  }

  /** By a program in passt's place that says how it was called, and which process it is. */
  @Test
  void passtIsThereBeforeQemuIsAndEndsWithItsProcess() throws Exception {
    Path passt = directory.resolve("passt.sh");
    Files.writeString(passt, "#!/bin/sh\necho \"$@\"\necho $$\nexec nc -lU \"$7\"\n");
    Files.setPosixFilePermissions(passt, PosixFilePermissions.fromString("rwxr-xr-x"));
    List<String> qemu =
        List.of("sh", "-c", "echo $$ $0 \"$1\"; exec sleep 1000", "machine", "two words");
    Process process =
        new ProcessBuilder(new QemuNetwork.Passt(passt, true, 1400).around(qemu, directory))
            .start();
    try (BufferedReader said = process.inputReader()) {
      assertEquals(
          "--foreground --quiet --one-off --runas 0 --socket "
              + directory.resolve("passt")
              + " --mtu 1400 --vhost-user --ipv4-only --address 10.0.2.15 --netmask 24"
              + " --gateway 10.0.2.2",
          said.readLine());
      ProcessHandle beside = ProcessHandle.of(Long.parseLong(said.readLine())).orElseThrow();
      assertEquals(process.pid() + " machine two words", said.readLine());
      assertTrue(beside.isAlive());
      process.destroyForcibly();
      beside.onExit().get(20, TimeUnit.SECONDS);
    } finally {
      process.destroyForcibly();
    }
  }

  @Test
  void withoutPasstThereIsNoMachine() throws Exception {
    QemuNetwork network = new QemuNetwork.Passt(Path.of("/bin/false"), false, 1400);
    Process process =
        new ProcessBuilder(network.around(List.of("echo", "a machine"), directory)).start();
    assertArrayEquals(new byte[0], process.getInputStream().readAllBytes());
    assertNotEquals(0, process.waitFor());
  }

  @Test
  void firecrackerIsConfiguredByItsFile() throws IOException {
    Path image = Files.write(directory.resolve("image \"1\""), new byte[512]);
    VmSpec.Disk disk = VmSpec.Disk.of("rootfs", image, true);
    Firecracker firecracker = new Firecracker(Path.of("/bin/firecracker"));
    List<String> command = firecracker.command(spec(disk), KERNEL, 77, directory);
    assertTrue(command.contains("--no-api"));
    JsonNode config =
        new ObjectMapper().readTree(Path.of(after(command, "--config-file")).toFile());
    assertEquals("/k/vmlinux", config.at("/boot-source/kernel_image_path").asText());
    assertEquals("/k/init", config.at("/boot-source/initrd_path").asText());
    assertTrue(config.at("/boot-source/boot_args").asText().contains("reboot=k pci=off"));
    assertEquals(2, config.at("/machine-config/vcpu_count").asInt());
    assertEquals(96, config.at("/machine-config/mem_size_mib").asInt());
    assertEquals(image.toString(), config.at("/drives/0/path_on_host").asText());
    assertTrue(config.at("/drives/0/is_read_only").asBoolean());
    assertFalse(config.at("/drives/0/is_root_device").asBoolean(true));
    assertEquals(77, config.at("/vsock/guest_cid").asInt());
    assertEquals(directory.resolve("vsock").toString(), config.at("/vsock/uds_path").asText());

    // As stat(2) has them: what its source says that the disk is called.
    GuestDisk.VirtioSerial found = (GuestDisk.VirtioSerial) firecracker.guestDisk(disk);
    String id =
        "" + Files.getAttribute(image, "unix:dev") + 0 + Files.getAttribute(image, "unix:ino");
    assertEquals(id.substring(0, Math.min(20, id.length())), found.serial());

    VmSpec odd = VmSpec.builder("peer", KERNEL, DataSize.kibibytes(1028)).build();
    assertThrows(IOException.class, () -> firecracker.command(odd, KERNEL, 77, directory));
  }

  @Test
  void cloudHypervisorTakesOptionsThatCannotBeMistaken() throws IOException {
    CloudHypervisor monitor = new CloudHypervisor(Path.of("/bin/ch"));
    VmSpec.Disk disk = VmSpec.Disk.of("rootfs", Path.of("/image"), true);
    List<String> command = monitor.command(spec(disk), KERNEL, 77, directory);
    assertEquals("boot=2", after(command, "--cpus"));
    assertEquals("size=" + (96 << 20), after(command, "--memory"));
    assertEquals("path=/image,image_type=raw,readonly=on,serial=rootfs", after(command, "--disk"));
    assertEquals("cid=77,socket=" + directory.resolve("vsock"), after(command, "--vsock"));
    assertFalse(after(command, "--cmdline").contains("pci=off"));
    assertEquals("VIRTIO_PCI", monitor.drivers().get(0).option());
    VmSpec.Disk odd = VmSpec.Disk.of("rootfs", Path.of("/image,readonly=off"), true);
    assertThrows(IOException.class, () -> monitor.command(spec(odd), KERNEL, 77, directory));
  }
}
