// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.peers;

import dev.nacelle.HostCheck;
import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.spi.Findings;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.HypervisorProvider;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * Makes a monitor's machines available. It is given to whoever wants it, and not found with {@link
 * java.util.ServiceLoader}: nobody is to have it by accident.
 */
public class MonitorProvider implements HypervisorProvider {
  private static final Path KVM = Path.of("/dev/kvm");
  private static final Path VHOST = Path.of("/dev/vhost-vsock");

  private final Monitor monitor;
  private final Path directory;

  /**
   * @param monitor whose machines they are
   * @param directory where each machine has a directory of its own, with short names: a Unix
   *     socket's has 107 bytes at most
   */
  public MonitorProvider(Monitor monitor, Path directory) {
    this.monitor = monitor;
    this.directory = directory;
  }

  @Override
  public String name() {
    return monitor.name();
  }

  @Override
  public boolean supportsPlatform() {
    return System.getProperty("os.name").equals("Linux")
        && System.getProperty("os.arch").equals("amd64");
  }

  @Override
  public List<GuestDriver> drivers() {
    return monitor.drivers();
  }

  @Override
  public Optional<String> clockOption() {
    return Optional.of("KVM_GUEST");
  }

  @Override
  public HostCheck check() {
    Findings findings = new Findings();
    if (!supportsPlatform()) {
      findings.failed("platform", "this is not Linux on x86-64", "Use such a host.");
    } else if (!Files.isExecutable(monitor.program())) {
      findings.failed(
          "program", monitor.program() + " is no program", "Name the one of " + name() + ".");
    } else if (!Files.isReadable(KVM) || !Files.isWritable(KVM)) {
      findings.failed("kvm", KVM + " cannot be opened", "Load kvm, and run as its group or root.");
    } else if (monitor.vhostVsock() && !Files.isWritable(VHOST)) {
      findings.failed("vhost", VHOST + " cannot be opened", "modprobe vhost_vsock; run as root.");
    } else {
      findings.passed("program", monitor.program().toString());
    }
    return findings.of(name());
  }

  @Override
  public MonitorHypervisor open() {
    Optional<HostCheck.Finding> failure = check().failure(HostCheck.Ability.LINUX_KERNELS);
    if (failure.isPresent()) {
      throw new HypervisorException(
          Stage.HOST, failure.get().detail(), failure.get().remedy().orElse(null), null);
    }
    try {
      return new MonitorHypervisor(monitor, directory);
    } catch (IOException e) {
      throw new HypervisorException(Stage.HOST, String.valueOf(e.getMessage()), null, e);
    }
  }
}
