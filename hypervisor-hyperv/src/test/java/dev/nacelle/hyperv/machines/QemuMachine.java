// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.machines;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.nacelle.hyperv.sys.HResult;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.kvm.device.virtio.VhostUserBackEnd;
import dev.nacelle.kvm.device.virtio.vsock.VsockDevice;
import dev.nacelle.kvm.device.virtio.vsock.VsockDevices;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.memory.SharedMemory;
import dev.nacelle.kvm.sys.MemoryFile;
import dev.nacelle.spi.VirtualMachine;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * A machine of the stand-in: QEMU, which emulates the processor, with the devices that a document
 * has. Sockets of Hyper-V are those of virtio there, and SCSI disks are virtio's, too; what the
 * guest sees of that is told otherwise where it matters (src/test/c/guest).
 */
final class QemuMachine {
  /** How it ended. */
  enum End {
    POWER_OFF,
    RESET,
    TERMINATED,
    FAILED
  }

  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String PANIC = "Kernel panic - not syncing";

  /** On the command line, so that AF_VSOCK is Hyper-V's: here it is virtio's. */
  private static final String NO_VIRTIO_SOCKETS = "initcall_blacklist=virtio_vsock_init";

  private final Configuration configuration;
  private final Path directory;
  private final MemoryFile memoryFile;
  private final GuestMemory memory;
  private final VhostUserBackEnd<VsockDevice> sockets;
  private final ConsoleLog console = new ConsoleLog();
  private final CompletableFuture<End> end = new CompletableFuture<>();

  private Process qemu;
  private boolean terminated;
  private volatile String shutdown = "";

  QemuMachine(Configuration configuration) throws IOException {
    this.configuration = configuration;
    directory = Files.createTempDirectory("machine");
    long bytes = (long) configuration.mebibytes() << 20;
    memoryFile = new MemoryFile(bytes);
    memory = SharedMemory.of(memoryFile.descriptor(), bytes);
    sockets =
        new VhostUserBackEnd<>(
            memory,
            directory.resolve("vsock"),
            2,
            resources -> VsockDevices.forQemu(resources, VirtualMachine.FIRST_GUEST_CID),
            failure -> {
              failure.printStackTrace();
              kill();
            });
  }

  Configuration configuration() {
    return configuration;
  }

  VsockDevice sockets() {
    return sockets.device();
  }

  ConsoleLog console() {
    return console;
  }

  /** Once nothing of it is left. */
  CompletableFuture<End> end() {
    return end;
  }

  /** Whether its kernel said that it panicked. */
  boolean hasPanicked() {
    return console.text().contains(PANIC);
  }

  /**
   * Returns when its processors run.
   *
   * @param init the first program of the guest
   * @param tscKilohertz how fast the processors' time stamp counter is, as Hyper-V tells its
   *     guests: to find out by the timer fails on a busy host, and without it Linux does not start
   */
  synchronized void start(Path init, long tscKilohertz) throws IOException, ServiceError {
    if (qemu != null || terminated) {
      throw new ServiceError(HResult.HCS_E_INVALID_STATE, "it was started before, or ended");
    }
    configuration.requireFiles();
    Path errors = directory.resolve("errors");
    ServerSocketChannel serial = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    try (serial) {
      serial.bind(UnixDomainSocketAddress.of(directory.resolve("console")));
      qemu =
          new ProcessBuilder(command(initramfs(init), tscKilohertz))
              .redirectError(errors.toFile())
              .start();
      BufferedReader monitor = qemu.inputReader(StandardCharsets.UTF_8);
      String greeting = monitor.readLine();
      if (greeting == null) {
        String why = Files.readString(errors);
        throw new ServiceError(
            why.contains("lock") ? HResult.ERROR_SHARING_VIOLATION : HResult.ERROR_INVALID_DATA,
            why);
      }
      // It has connected before it greets.
      SocketChannel channel = serial.accept();
      start(() -> readConsole(channel), "console");
      tell("qmp_capabilities");
      start(() -> readMonitor(monitor), "monitor");
    } catch (ServiceError | IOException | RuntimeException e) {
      if (qemu != null) {
        qemu.destroyForcibly().onExit().join();
        qemu = null;
      }
      throw e;
    }
  }

  private static Thread start(Runnable task, String name) {
    Thread thread = new Thread(task, name);
    thread.setDaemon(true);
    thread.start();
    return thread;
  }

  private List<String> command(Path initramfs, long tscKilohertz) throws ServiceError {
    String parameters =
        configuration.parameters().replace(NO_VIRTIO_SOCKETS, "")
            + " tsc_early_khz="
            + tscKilohertz;
    List<String> command =
        new ArrayList<>(
            List.of(
                // It ends with the thread that starts it, and so with this process however that
                // ends.
                "setpriv",
                "--pdeathsig",
                "KILL",
                "qemu-system-x86_64",
                "-M",
                "microvm,acpi=on,memory-backend=ram",
                // In one thread: in several, a processor may run an instruction as it was while
                // another patched it, and the guest's kernel panics ("Oops: int3").
                "-accel",
                "tcg,thread=single",
                "-cpu",
                "max",
                "-smp",
                String.valueOf(configuration.processors()),
                "-m",
                configuration.mebibytes() + "M",
                "-object",
                "memory-backend-file,id=ram,share=on,size="
                    + configuration.mebibytes()
                    + "M,mem-path="
                    + memoryFile.path(),
                "-nodefaults",
                "-no-user-config",
                "-no-reboot",
                "-display",
                "none",
                "-qmp",
                "stdio",
                "-chardev",
                "socket,id=console,path=" + directory.resolve("console"),
                "-serial",
                "chardev:console",
                "-chardev",
                "socket,id=vsock,path=" + directory.resolve("vsock"),
                "-global",
                "virtio-mmio.force-legacy=false",
                "-device",
                "vhost-user-vsock-device,chardev=vsock",
                "-kernel",
                configuration.kernel().toString()));
    if (initramfs != null) {
      command.addAll(List.of("-initrd", initramfs.toString()));
      parameters += " rdinit=/vmbus-init";
    }
    command.addAll(List.of("-append", parameters.trim()));
    for (Configuration.Disk disk : configuration.disks()) {
      String drive = "disk" + disk.host() + "-" + disk.lun();
      command.add("-drive");
      command.add(
          "if=none,id="
              + drive
              + ",werror=report,format="
              + disk.format()
              + ",readonly="
              + (disk.readOnly() ? "on" : "off")
              + ",file="
              + disk.file().toString().replace(",", ",,"));
      command.add("-device");
      command.add("virtio-blk-device,drive=" + drive + ",serial=" + drive);
    }
    return command;
  }

  /** The guest's with one more archive behind it: of two files of a name the later counts. */
  private Path initramfs(Path init) throws IOException {
    if (configuration.initramfs() == null) {
      return null;
    }
    Files.copy(init, directory.resolve("vmbus-init"));
    List<String> disks = new ArrayList<>();
    for (Configuration.Disk disk : configuration.disks()) {
      disks.add(
          String.format("disk%d-%d %s %1$d %2$d", disk.host(), disk.lun(), disk.controller()));
    }
    Files.write(directory.resolve("vmbus-disks"), disks);
    Path whole = directory.resolve("initramfs");
    Files.copy(configuration.initramfs(), whole);
    // Archives begin at multiples of 4.
    Tool.script(
        directory,
        "truncate -s %4 initramfs;"
            + " printf 'vmbus-init\\nvmbus-disks\\n' | cpio --quiet -o -H newc >> initramfs");
    return whole;
  }

  private void readConsole(SocketChannel channel) {
    try (channel;
        InputStream in = Channels.newInputStream(channel)) {
      byte[] buffer = new byte[4096];
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        console.add(buffer, n);
      }
    } catch (IOException e) {
      // As its end.
    } finally {
      console.end();
    }
  }

  private void readMonitor(BufferedReader monitor) {
    try {
      for (String line = monitor.readLine(); line != null; line = monitor.readLine()) {
        JsonNode message = JSON.readTree(line);
        if (message.path("event").asText().equals("SHUTDOWN")) {
          shutdown = message.path("data").path("reason").asText();
        }
      }
    } catch (IOException e) {
      // As its end.
    }
    qemu.onExit().join();
    console.awaitEnd();
    end.complete(how());
  }

  private synchronized End how() {
    if (terminated) {
      return End.TERMINATED;
    }
    return switch (shutdown) {
      case "guest-shutdown" -> End.POWER_OFF;
      case "guest-reset" -> End.RESET;
      default -> End.FAILED;
    };
  }

  private void tell(String command) throws IOException {
    OutputStream out = qemu.getOutputStream();
    out.write(("{\"execute\":\"" + command + "\"}\n").getBytes(StandardCharsets.US_ASCII));
    out.flush();
  }

  /** Its processors stop, or go on; its devices on the host know nothing of that. */
  synchronized void suspend(boolean suspended) throws ServiceError {
    if (qemu == null || !qemu.isAlive()) {
      throw new ServiceError(HResult.HCS_E_INVALID_STATE, "it does not run");
    }
    String signal = suspended ? "-STOP" : "-CONT";
    String ignored = Tool.run(directory, "kill", signal, String.valueOf(qemu.pid()));
  }

  /** Ends it by force, unless it has ended. */
  synchronized void terminate() {
    if (qemu == null) {
      if (!terminated) {
        terminated = true;
        console.end();
        end.complete(End.TERMINATED);
      }
    } else if (qemu.isAlive()) {
      terminated = true;
      kill();
    }
  }

  /** As if it failed. */
  private void kill() {
    Process process = qemu;
    if (process != null) {
      process.destroyForcibly();
    }
  }

  /** Once it has ended: its connections are reset. */
  void close() throws IOException {
    sockets.close();
    memory.close();
    memoryFile.close();
    Tool.run(directory.getParent(), "rm", "-r", directory.toString());
  }
}
