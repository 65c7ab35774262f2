// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.machines;

import dev.nacelle.hyperv.sys.StandIn;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;

/** Has the machines of the stand-in really boot: in a {@link MachineHost}, one for the process. */
public final class Machines {
  private static Process host;
  private static String address;

  private Machines() {}

  /** From now on, unless somebody else has seen to it (NACELLE_HCS_MACHINES). */
  public static synchronized void boot() {
    if (System.getenv("NACELLE_HCS_MACHINES") != null) {
      StandIn.bootMachinesAt(null);
      return;
    }
    if (host != null && host.isAlive()) {
      return;
    }
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    try {
      host =
          new ProcessBuilder(
                  java,
                  "-XX:TieredStopAtLevel=1",
                  "-XX:+UseSerialGC",
                  "-cp",
                  System.getProperty("java.class.path"),
                  MachineHost.class.getName(),
                  new File("src/test/c/guest").getAbsolutePath())
              .redirectError(ProcessBuilder.Redirect.INHERIT)
              .start();
      BufferedReader out = host.inputReader(StandardCharsets.US_ASCII);
      String port = out.readLine();
      if (port == null) {
        throw new IOException("the host of machines did not start");
      }
      address = "127.0.0.1:" + port;
      StandIn.bootMachinesAt(address);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Where it listens, for other processes' stand-ins. */
  public static synchronized String address() {
    return address;
  }

  /** The machines that run: QEMU's processes. */
  public static synchronized List<ProcessHandle> guests() {
    return host.descendants()
        .filter(process -> process.info().command().orElse("").contains("qemu-system"))
        .toList();
  }

  /** Ends that program, and its machines with it. */
  public static synchronized void kill() {
    List<ProcessHandle> guests = guests();
    host.destroyForcibly().onExit().join();
    guests.forEach(guest -> guest.onExit().join());
  }
}
