// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * Which option of a kernel's configuration a module is built by.
 *
 * <p>That is written in the kernel's Makefiles ({@code obj-$(CONFIG_TUN) += tun.o}) and in nothing
 * that a build leaves behind, so it is derived from the module's name: by the habit that nearly
 * half of all modules follow, and for well-known ones that do not, by a table. A name derived by
 * habit counts only where the configuration knows it.
 */
final class ModuleOption {
  private static final Map<String, String> IRREGULAR =
      Map.ofEntries(
          Map.entry("8021q", "VLAN_8021Q"),
          Map.entry("af_packet", "PACKET"),
          Map.entry("br_netfilter", "BRIDGE_NETFILTER"),
          Map.entry("brd", "BLK_DEV_RAM"),
          Map.entry("dm_mod", "BLK_DEV_DM"),
          Map.entry("ip6_tables", "IP6_NF_IPTABLES"),
          Map.entry("ip6_tunnel", "IPV6_TUNNEL"),
          Map.entry("ip_gre", "NET_IPGRE"),
          Map.entry("ip_tables", "IP_NF_IPTABLES"),
          Map.entry("iptable_filter", "IP_NF_FILTER"),
          Map.entry("iptable_nat", "IP_NF_NAT"),
          Map.entry("isofs", "ISO9660_FS"),
          Map.entry("md_mod", "BLK_DEV_MD"),
          Map.entry("nfnetlink", "NETFILTER_NETLINK"),
          Map.entry("sctp", "IP_SCTP"),
          Map.entry("sit", "IPV6_SIT"),
          Map.entry("virtio_scsi", "SCSI_VIRTIO"),
          Map.entry("virtiofs", "VIRTIO_FS"),
          Map.entry("vsock", "VSOCKETS"),
          Map.entry("watchdog", "WATCHDOG_CORE"),
          Map.entry("x_tables", "NETFILTER_XTABLES"));

  private ModuleOption() {}

  /**
   * The option, without CONFIG_; empty when the configuration has none that fits.
   *
   * @param module in canonical form
   */
  static Optional<String> of(String module, KernelConfig config) {
    return candidates(module).stream().filter(config::knows).findFirst();
  }

  /** What the option may be called, the likeliest first; at least one. */
  static List<String> candidates(String module) {
    String irregular = IRREGULAR.get(module);
    if (irregular != null) {
      return List.of(irregular);
    }
    String name = module.toUpperCase(Locale.ROOT);
    if (module.startsWith("sch_") || module.startsWith("cls_") || module.startsWith("act_")) {
      return List.of("NET_" + name);
    }
    if (module.startsWith("tcp_")) {
      return List.of(name.replaceFirst("TCP_", "TCP_CONG_"));
    }
    return List.of(name, name + "_FS", "BLK_DEV_" + name);
  }
}
