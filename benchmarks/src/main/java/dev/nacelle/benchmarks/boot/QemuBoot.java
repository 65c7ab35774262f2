// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.boot;

import dev.nacelle.kvm.boot.KernelParameters;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * QEMU's microvm machine with the devices that Nacelle's has: one vCPU, a serial port, a virtio
 * socket and a virtio entropy device over virtio-mmio, announced by ACPI. The socket's other end is
 * the kernel's (vhost-vsock).
 */
final class QemuBoot implements Boot {
  private static final String QBOOT = "/usr/share/qemu/qboot.rom";
  private static final int GUEST_CID = 42;
  private static final long PATIENCE_SECONDS = 600;

  private final String name;
  private final String machine;
  private final boolean qboot;
  private final VsockListener listener;
  private final Path directory;

  /**
   * @param machine options of the microvm machine, beginning with a comma
   * @param qboot whether qboot, not SeaBIOS, is the firmware
   * @param directory for what QEMU writes
   */
  QemuBoot(String name, String machine, boolean qboot, VsockListener listener, Path directory) {
    this.name = name;
    this.machine = machine;
    this.qboot = qboot;
    this.listener = listener;
    this.directory = directory;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public Result run(Guest guest) {
    Path console = directory.resolve("console");
    Path errors = directory.resolve("errors");
    ProcessBuilder builder =
        new ProcessBuilder(command(guest, console))
            .redirectErrorStream(true)
            .redirectOutput(errors.toFile());
    try {
      long forked = System.nanoTime();
      long deadline = forked + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
      Process process = builder.start();
      try {
        long accepted =
            listener.accept(() -> !process.isAlive() || System.nanoTime() - deadline > 0);
        return new Result(accepted - forked, Map.of());
      } catch (IllegalStateException e) {
        throw new IllegalStateException(
            name + ": " + e.getMessage() + "\n" + text(errors) + text(console), e);
      } finally {
        process.destroyForcibly().onExit().join();
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private List<String> command(Guest guest, Path console) {
    List<String> command =
        new ArrayList<>(
            List.of(
                "qemu-system-x86_64",
                "-M",
                "microvm,acpi=on" + machine,
                "-accel",
                "kvm",
                "-cpu",
                "host",
                "-smp",
                "1",
                "-m",
                guest.memoryMib() + "M",
                "-nodefaults",
                "-no-user-config",
                "-no-reboot",
                "-display",
                "none",
                "-serial",
                "file:" + console,
                "-global",
                "virtio-mmio.force-legacy=false",
                "-device",
                "vhost-vsock-device,guest-cid=" + GUEST_CID,
                "-device",
                "virtio-rng-device",
                "-kernel",
                guest.kernel().toString(),
                "-initrd",
                guest.initramfs().toString(),
                "-append",
                KernelParameters.of(guest.parameters())));
    if (qboot) {
      command.addAll(List.of("-bios", QBOOT));
    }
    return command;
  }

  private static String text(Path file) throws IOException {
    return Files.exists(file) ? Files.readString(file) : "";
  }
}
