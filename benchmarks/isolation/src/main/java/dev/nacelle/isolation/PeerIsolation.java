// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import dev.nacelle.HostCheck;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.engine.EngineBuilder;
import dev.nacelle.image.ImageRef;
import dev.nacelle.isolation.peers.Monitor;
import dev.nacelle.isolation.peers.MonitorHypervisor;
import dev.nacelle.isolation.peers.MonitorProvider;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A machine of another monitor for each instance: a process of its own, with the same image, agent
 * and engine as Nacelle's.
 */
class PeerIsolation extends NacelleIsolation {
  private final String kernel;
  private final @Nullable Monitor monitor;
  private final String absent;
  private final Setting setting;
  private volatile @Nullable MonitorHypervisor opened;

  /**
   * @param kernel that it can run
   * @param program what a user names the program by: "qemu" of "--qemu PATH"
   * @param command the program, where PATH is to be looked at for one that the user has not named;
   *     empty for none
   * @param monitor of a program
   */
  PeerIsolation(
      String name,
      String label,
      String kernel,
      String program,
      String command,
      Function<Path, Monitor> monitor,
      Setting setting) {
    super(name, label, kernel, MemoryPolicy.SPEED, setting);
    this.kernel = kernel;
    this.setting = setting;
    Optional<Path> found =
        Optional.ofNullable(setting.programs().get(program))
            .or(() -> command.isEmpty() ? Optional.empty() : Host.program(command));
    this.monitor = found.map(monitor).orElse(null);
    absent =
        command.isEmpty()
            ? "no program of it was named: --" + program + " PATH"
            : "there is no " + command + " on the PATH: install it, or name it by --" + program;
  }

  @Override
  public Optional<String> unavailable() {
    return monitor == null
        ? Optional.of(absent)
        : provider()
            .check()
            .failure(HostCheck.Ability.LINUX_KERNELS)
            .map(failure -> failure.detail() + failure.remedy().map(to -> ": " + to).orElse(""));
  }

  /** Made when it is first asked for, of a program that is there. */
  private MonitorProvider provider() {
    if (monitor == null) {
      throw new IllegalStateException(absent);
    }
    return new MonitorProvider(monitor, setting.work()) {
      @Override
      public MonitorHypervisor open() {
        MonitorHypervisor hypervisor = super.open();
        opened = hypervisor;
        return hypervisor;
      }
    };
  }

  @Override
  protected Nacelle.Builder builder() {
    return new EngineBuilder().cacheDirectory(setting.cache()).hypervisor(provider());
  }

  @Override
  public void prepare(ImageRef image) throws IOException {
    if (monitor != null) {
      super.prepare(image);
    }
  }

  @Override
  boolean powersOff() {
    return monitor == null || monitor.powersOff();
  }

  /** What the program says of itself. */
  @Override
  public String version() {
    String said = "";
    if (monitor != null) {
      try {
        said = HostProcess.run(List.of(monitor.program().toString(), "--version")).text();
      } catch (IOException e) {
        said = "unknown: " + e.getMessage();
      }
    }
    return said.lines().findFirst().orElse("unknown") + ", " + kernel;
  }

  /** Its monitor's, which has the guest's memory. */
  @Override
  Set<Long> processes(Sandbox sandbox) {
    MonitorHypervisor hypervisor = opened;
    OptionalLong process =
        hypervisor == null ? OptionalLong.empty() : hypervisor.process(sandbox.info().name());
    return process.isEmpty() ? Set.of() : Set.of(process.getAsLong());
  }
}
