// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import dev.nacelle.kernel.store.GuestAgentBinary;
import dev.nacelle.kernel.store.ResolvedKernel;
import dev.nacelle.kernel.store.TestKernels;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.ServiceLoader;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/**
 * A machine whose init does what it is told, a line a command (guest-agent/tests/contract_guest.rs
 * says which).
 */
public final class ContractGuest implements AutoCloseable {
  private static final String RESOURCE = "/META-INF/nacelle/x86_64/contract-guest";
  private static final int CONTROL_PORT = 1024;

  private final VirtualMachine machine;
  private final BlockingConnection control;

  private ContractGuest(VirtualMachine machine, BlockingConnection control) {
    this.machine = machine;
    this.control = control;
  }

  /** That guest's program, which serves on vsock as a process of a sandbox, too. */
  public static byte[] program() throws IOException {
    try (InputStream in = ContractGuest.class.getResourceAsStream(RESOURCE)) {
      if (in == null) {
        throw new IOException("no " + RESOURCE + " on the class path");
      }
      return in.readAllBytes();
    }
  }

  /** That guest's initramfs for a kernel on machines that need drivers. */
  public static Path initramfs(ResolvedKernel kernel, List<GuestDriver> drivers)
      throws IOException {
    return TestKernels.store().initramfs(kernel, GuestAgentBinary.of(program()), drivers);
  }

  /** What a kernel needs for the machines of the hypervisor whose module's tests run. */
  public static List<GuestDriver> drivers() {
    return ServiceLoader.load(HypervisorProvider.class).findFirst().orElseThrow().drivers();
  }

  /** How that guest calls a disk. */
  static String name(GuestDisk disk) {
    if (disk instanceof GuestDisk.Scsi scsi) {
      return scsi.controller() + "/" + scsi.lun();
    }
    return ((GuestDisk.VirtioSerial) disk).serial();
  }

  /** Boots it and waits for its dial; the machine is then this object's. */
  static ContractGuest boot(VirtualMachine machine) throws Exception {
    CompletableFuture<GuestConnection> dialled = new CompletableFuture<>();
    machine.listen(CONTROL_PORT, dialled::complete);
    machine
        .exit()
        .thenAccept(
            exit ->
                dialled.completeExceptionally(
                    new IOException(exit + ": " + machine.console().tail())));
    try {
      machine.start();
      return new ContractGuest(machine, new BlockingConnection(dialled.get()));
    } catch (ExecutionException e) {
      machine.close();
      throw new IOException("the guest did not come up: " + e.getCause().getMessage(), e);
    }
  }

  VirtualMachine machine() {
    return machine;
  }

  /** Sends a command and returns its answer. */
  synchronized String ask(String command) throws IOException, InterruptedException {
    tell(command);
    return control.readLine();
  }

  /** Sends a command that has no answer. */
  synchronized void tell(String command) throws IOException, InterruptedException {
    control.write((command + "\n").getBytes(StandardCharsets.UTF_8));
  }

  BlockingConnection connect(int port) throws Exception {
    return new BlockingConnection(machine.connect(port).get());
  }

  @Override
  public void close() {
    machine.close();
  }
}
