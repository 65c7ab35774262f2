// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.vmbus;

import dev.nacelle.VmExit;
import dev.nacelle.VmStatistics;
import dev.nacelle.hyperv.schema.ComputeSystemDocument;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.Attachment;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.LinuxKernelDirect;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.Scsi;
import dev.nacelle.kvm.boot.LinuxKernel;
import dev.nacelle.spi.Console;
import dev.nacelle.spi.ConsoleRing;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.MachineThread;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;

/** The machine that a document of the Host Compute Service describes. */
public final class VmbusMachine implements VirtualMachine {
  private final String name;
  private final List<FixedVhdFile> files = new ArrayList<>();
  private final HvSockets sockets = new HvSockets();
  private final ConsoleRing console;
  private final Partition partition;
  private final Vmbus bus;
  private final CompletableFuture<VmExit> exit = new CompletableFuture<>();
  private boolean started; // guarded by this
  private boolean released; // guarded by files

  /**
   * Makes one that has not been started.
   *
   * @param spec what the document does not say: name, console, memory policy
   * @throws IOException when a file cannot be read, or is no fixed VHD
   */
  public VmbusMachine(ComputeSystemDocument document, VmSpec spec) throws IOException {
    name = spec.name();
    var machine = document.virtualMachine();
    LinuxKernelDirect boot = machine.chipset().linuxKernelDirect();
    Path initramfs = boot.initRdPath() == null ? null : Path.of(boot.initRdPath());
    var policy = ((VmSpec.Linux) spec.guest()).memoryPolicy();
    console =
        new ConsoleRing(
            Math.toIntExact(spec.consoleSize().bytes()),
            task -> bus().execute(task),
            Runnable::run);
    partition =
        new Partition(
            name,
            machine.computeTopology().memory().sizeInMB() << 20,
            machine.computeTopology().processor().count(),
            new LinuxKernel(Path.of(boot.kernelFilePath()), initramfs, "", policy, false),
            // Its firmware tells a guest of Hyper-V's how to reset; this one has none.
            boot.kernelCmdLine() + " reboot=a",
            console::write);
    try {
      bus = new Vmbus(name, partition, controllers(machine.devices().scsi()), sockets);
    } catch (IOException | RuntimeException | Error e) {
      partition.close();
      files.forEach(FixedVhdFile::close);
      throw e;
    }
    sockets.attach(bus);
    partition.ended().thenAccept(how -> bus.execute(() -> ended(how)));
  }

  private Vmbus bus() {
    return bus;
  }

  private List<Channel.Service> controllers(Map<String, Scsi> scsi) throws IOException {
    List<Channel.Service> controllers = new ArrayList<>();
    for (Map.Entry<String, Scsi> controller : scsi.entrySet()) {
      Map<Integer, ScsiDisk> disks = new HashMap<>();
      for (Map.Entry<String, Attachment> unit : controller.getValue().attachments().entrySet()) {
        Attachment disk = unit.getValue();
        FixedVhdFile file = new FixedVhdFile(Path.of(disk.path()), disk.readOnly());
        files.add(file);
        disks.put(Integer.parseInt(unit.getKey()), new ScsiDisk(file));
      }
      controllers.add(
          new StorageController(UUID.fromString(controller.getKey()), disks, partition.memory()));
    }
    return controllers;
  }

  /** On the bus's thread. */
  private void ended(VmExit how) {
    bus.end();
    sockets.machineEnded();
    console.deliver();
    exit.complete(how);
  }

  @Override
  public synchronized void start() {
    if (started || partition.isEnding()) {
      throw new IllegalStateException(this + (started ? " was started before" : " has ended"));
    }
    started = true;
    partition.start(bus);
  }

  @Override
  public CompletableFuture<VmExit> exit() {
    return exit.copy();
  }

  @Override
  public Listener listen(int port, Consumer<GuestConnection> onConnect) {
    return sockets.listen(port, onConnect);
  }

  @Override
  public CompletableFuture<GuestConnection> connect(int port) {
    return sockets.connect(port);
  }

  @Override
  public Console console() {
    return console;
  }

  @Override
  public Set<Ability> abilities() {
    return Set.of();
  }

  @Override
  public void pause() {
    throw new UnsupportedOperationException();
  }

  @Override
  public void resume() {
    throw new UnsupportedOperationException();
  }

  @Override
  public VmStatistics statistics() {
    return VmStatistics.of(Map.of(), Map.of());
  }

  @Override
  public void close() {
    partition.end(VmExit.of(VmExit.Reason.CLOSED, this + " was closed"));
    if (MachineThread.isCurrent()) {
      new Thread(this::release, "nacelle-" + name + "-close").start();
    } else {
      release();
    }
  }

  private void release() {
    synchronized (files) {
      if (!released) {
        released = true;
        bus.awaitEnd();
        partition.close();
        files.forEach(FixedVhdFile::close);
      }
    }
  }

  @Override
  public String toString() {
    return "virtual machine " + name;
  }
}
