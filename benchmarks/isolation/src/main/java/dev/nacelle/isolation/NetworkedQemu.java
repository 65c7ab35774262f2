// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import dev.nacelle.ExecResult;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.isolation.peers.Qemu;
import dev.nacelle.isolation.peers.QemuNetwork;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * QEMU's machines with a network device of their own, for the figures of networks: the sandboxes
 * have none of Nacelle's.
 */
final class NetworkedQemu extends PeerIsolation {
  private final QemuNetwork network;
  private final Path probe;
  private final @Nullable String lacks;

  private NetworkedQemu(
      String name,
      String label,
      String kernel,
      QemuNetwork network,
      @Nullable String lacks,
      Setting setting,
      Path probe) {
    super(
        name,
        label,
        kernel,
        "qemu",
        "qemu-system-x86_64",
        program -> new Qemu(program, Optional.of(network)),
        setting);
    this.network = network;
    this.lacks = lacks;
    this.probe = probe;
  }

  /** With QEMU's own network. */
  static NetworkedQemu slirp(int mtu, String kernel, Setting setting, Path probe) {
    return new NetworkedQemu(
        "qemu-slirp",
        "QEMU microvm, libslirp",
        kernel,
        new QemuNetwork.Slirp(mtu),
        null,
        setting,
        probe);
  }

  /**
   * With passt: the one that a setting names, else PATH's.
   *
   * @param vhostUser as {@link QemuNetwork.Passt} has it
   * @param mtu of its interface
   */
  static NetworkedQemu passt(
      String name, boolean vhostUser, int mtu, String kernel, Setting setting, Path probe) {
    Optional<Path> passt =
        Optional.ofNullable(setting.programs().get("passt")).or(() -> Host.program("passt"));
    String label = "QEMU microvm, passt" + (vhostUser ? " by vhost-user" : "") + ", MTU " + mtu;
    return new NetworkedQemu(
        name,
        label,
        kernel,
        new QemuNetwork.Passt(passt.orElse(Path.of("passt")), vhostUser, mtu),
        passt.isPresent() ? null : "there is no passt on the PATH: install it",
        setting,
        probe);
  }

  @Override
  public boolean isUsual() {
    return false;
  }

  @Override
  public Optional<String> unavailable() {
    return lacks == null ? super.unavailable() : Optional.of(lacks);
  }

  @Override
  void network(SandboxSpec.Builder spec, InetSocketAddress server) {
    // It has one already.
  }

  @Override
  String serviceHost() {
    return QemuNetwork.HOST;
  }

  @Override
  void furnish(Sandbox sandbox) {
    put(sandbox, probe, Probe.PATH);
    ExecResult result =
        sandbox.exec(
            ProcessSpec.builder(
                    Probe.PATH, "interface", "eth0", QemuNetwork.GUEST, "" + network.mtu())
                .security(ProcessSecurity.PRIVILEGED)
                .build());
    if (!result.succeeded()) {
      throw new IllegalStateException(result.stderr().text());
    }
  }
}
