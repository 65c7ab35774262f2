// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import dev.nacelle.MemoryPolicy;
import dev.nacelle.isolation.peers.CloudHypervisor;
import dev.nacelle.isolation.peers.Firecracker;
import dev.nacelle.isolation.peers.Qemu;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.ServiceLoader;

/** The isolations that there are. */
final class Isolations {
  private static final String OWN_KERNEL = "nacelle:6.12";
  private static final String DEBIANS_KERNEL = "debian:6.1";

  /** What passt takes of itself, and what others do. */
  private static final int PASST_MTU = 65_520;

  private static final int USUAL_MTU = 1500;

  private Isolations() {}

  /**
   * Those of this module, then those that others bring.
   *
   * @param probe the program that measures from inside, on the host
   */
  static List<Isolation> all(Setting setting, Path probe) {
    List<Isolation> all = new ArrayList<>();
    all.add(new BareProcess(setting, probe));
    all.add(new OciContainer("runc", List.of(), setting, probe));
    all.add(new OciContainer("crun", List.of("--cgroup-manager=cgroupfs"), setting, probe));
    all.add(
        new NacelleIsolation(
            "nacelle", "Nacelle, own kernel", OWN_KERNEL, MemoryPolicy.SPEED, setting));
    all.add(
        new NacelleIsolation(
            "nacelle-density",
            "Nacelle, own kernel, DENSITY",
            OWN_KERNEL,
            MemoryPolicy.DENSITY,
            setting));
    all.add(
        new NacelleIsolation(
            "nacelle-debian",
            "Nacelle, Debian's kernel",
            DEBIANS_KERNEL,
            MemoryPolicy.SPEED,
            setting));
    all.add(
        new PeerIsolation(
            "qemu", "QEMU microvm", OWN_KERNEL, "qemu", "qemu-system-x86_64", Qemu::new, setting));
    all.add(
        new PeerIsolation(
            "firecracker",
            "Firecracker",
            OWN_KERNEL,
            "firecracker",
            "",
            Firecracker::new,
            setting));
    all.add(
        new PeerIsolation(
            "cloud-hypervisor",
            "Cloud Hypervisor, Debian's kernel",
            DEBIANS_KERNEL,
            "cloud-hypervisor",
            "",
            CloudHypervisor::new,
            setting));
    all.add(NetworkedQemu.slirp(USUAL_MTU, OWN_KERNEL, setting, probe));
    all.add(NetworkedQemu.passt("qemu-passt", false, PASST_MTU, OWN_KERNEL, setting, probe));
    all.add(NetworkedQemu.passt("qemu-passt-1500", false, USUAL_MTU, OWN_KERNEL, setting, probe));
    all.add(NetworkedQemu.passt("qemu-passt-vhost", true, PASST_MTU, OWN_KERNEL, setting, probe));
    for (IsolationProvider provider : ServiceLoader.load(IsolationProvider.class)) {
      all.addAll(provider.isolations(setting));
    }
    return all;
  }
}
