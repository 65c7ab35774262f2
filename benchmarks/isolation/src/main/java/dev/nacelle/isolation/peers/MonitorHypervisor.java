// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.peers;

import dev.nacelle.HypervisorException;
import dev.nacelle.RateLimits;
import dev.nacelle.Stage;
import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Machines that are processes of a monitor's. Cores are not kept to one machine (core scheduling),
 * and memory policies make no difference; limits of rates, quotas and niceness are refused.
 */
public final class MonitorHypervisor implements Hypervisor {
  /** Context identifiers are the host's own: begun anywhere, so that others' do not collide. */
  private static final int FIRST_CID = 0x1_0000;

  private final Monitor monitor;
  private final Path directory;
  private final SocketLoop loop;
  private final VhostPorts ports;
  private final Set<MonitorMachine> machines = ConcurrentHashMap.newKeySet();
  private boolean closed;

  MonitorHypervisor(Monitor monitor, Path directory) throws IOException {
    this.monitor = monitor;
    this.directory = directory;
    loop = new SocketLoop(monitor.name() + " sockets");
    ports = new VhostPorts(loop);
  }

  @Override
  public MonitorMachine create(VmSpec spec) {
    if (!(spec.guest() instanceof VmSpec.Linux guest)) {
      throw refused("runs kernels of Linux only", null);
    }
    if (!spec.rateLimits().equals(RateLimits.NONE)
        || spec.cpuQuota().isPresent()
        || spec.niceness() != 0) {
      throw refused("has no limits of rates, quotas or niceness here", null);
    }
    synchronized (this) {
      if (closed) {
        throw new IllegalStateException("the hypervisor is closed");
      }
      int cid = ThreadLocalRandom.current().nextInt(FIRST_CID, Integer.MAX_VALUE);
      Path own = null;
      try {
        own = Files.createTempDirectory(directory, "vm");
        List<String> command = monitor.command(spec, guest, cid, own);
        MonitorMachine machine =
            new MonitorMachine(monitor, spec, cid, own, command, loop, ports, machines::remove);
        machines.add(machine);
        return machine;
      } catch (IOException e) {
        if (own != null) {
          MonitorMachine.delete(own);
        }
        throw refused(String.valueOf(e.getMessage()), e);
      }
    }
  }

  private HypervisorException refused(
      String why, @org.jspecify.annotations.Nullable IOException cause) {
    return new HypervisorException(Stage.CREATE, monitor.name() + ": " + why, null, cause);
  }

  @Override
  public List<GuestDisk> guestDisks(VmSpec spec) {
    List<GuestDisk> found = new ArrayList<>();
    try {
      for (VmSpec.Disk disk : spec.disks()) {
        found.add(monitor.guestDisk(disk));
      }
    } catch (IOException e) {
      throw refused("a disk's image cannot be looked at: " + e.getMessage(), e);
    }
    return found;
  }

  /**
   * The process of a machine that runs.
   *
   * @param name of the machine: {@link VmSpec#name()}
   */
  public OptionalLong process(String name) {
    return machines.stream()
        .filter(machine -> machine.name().equals(name))
        .map(MonitorMachine::process)
        .findFirst()
        .orElse(OptionalLong.empty());
  }

  @Override
  public void close() {
    synchronized (this) {
      closed = true;
    }
    machines.forEach(MonitorMachine::kill);
    machines.forEach(MonitorMachine::close);
    ports.close();
    loop.close();
  }
}
