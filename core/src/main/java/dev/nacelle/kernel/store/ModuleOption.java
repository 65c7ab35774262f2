// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * Which option of a kernel's configuration a module is built by.
 *
 * <p>That is written in the kernel's Makefiles ({@code obj-$(CONFIG_TUN) += tun.o}) and in nothing
 * that a build leaves behind, so it is derived from the module's name: by the habits that half of
 * all modules follow, those of netfilter and traffic control among them, and for well-known ones
 * that do not, by a table. A name derived by habit counts only where the configuration knows it.
 */
final class ModuleOption {
  /** Modules, each with the options that it may be built by, the newest name first. */
  private static final Map<String, List<String>> IRREGULAR =
      """
      8021q VLAN_8021Q
      act_simple NET_ACT_SIMP
      af_packet PACKET
      af_packet_diag PACKET_DIAG
      arp_tables IP_NF_ARPTABLES
      arpt_mangle IP_NF_ARP_MANGLE
      arptable_filter IP_NF_ARPFILTER
      br_netfilter BRIDGE_NETFILTER
      brd BLK_DEV_RAM
      cls_route NET_CLS_ROUTE4
      dccp_diag INET_DCCP_DIAG
      dm_mod BLK_DEV_DM
      ebt_mark BRIDGE_EBT_MARK_T
      ebt_mark_m BRIDGE_EBT_MARK
      ebtable_broute BRIDGE_EBT_BROUTE
      ebtables BRIDGE_NF_EBTABLES_LEGACY BRIDGE_NF_EBTABLES
      ip6_tables IP6_NF_IPTABLES_LEGACY IP6_NF_IPTABLES
      ip6_tunnel IPV6_TUNNEL
      ip6_udp_tunnel NET_UDP_TUNNEL
      ip6t_hbh IP6_NF_MATCH_OPTS
      ip_gre NET_IPGRE
      ip_tables IP_NF_IPTABLES_LEGACY IP_NF_IPTABLES
      ip_tunnel NET_IP_TUNNEL
      isofs ISO9660_FS
      md_mod BLK_DEV_MD
      mptcp_diag INET_MPTCP_DIAG
      nd_pmem BLK_DEV_PMEM
      nf_conncount NETFILTER_CONNCOUNT
      nf_conntrack_netlink NF_CT_NETLINK
      nf_synproxy_core NETFILTER_SYNPROXY
      nfnetlink NETFILTER_NETLINK
      nfnetlink_cthelper NF_CT_NETLINK_HELPER
      nfnetlink_cttimeout NF_CT_NETLINK_TIMEOUT
      nft_chain_nat NFT_NAT
      nft_meta_bridge NFT_BRIDGE_META
      nft_reject_bridge NFT_BRIDGE_REJECT
      ptp PTP_1588_CLOCK
      ptp_kvm PTP_1588_CLOCK_KVM
      raw_diag INET_RAW_DIAG
      rng_core HW_RANDOM
      scsi_mod SCSI
      sctp IP_SCTP
      sctp_diag INET_SCTP_DIAG
      sd_mod BLK_DEV_SD
      sit IPV6_SIT
      sr_mod BLK_DEV_SR
      tcp_diag INET_TCP_DIAG
      tcp_highspeed TCP_CONG_HSTCP
      thermal ACPI_THERMAL
      udp_diag INET_UDP_DIAG
      udp_tunnel NET_UDP_TUNNEL
      virtio_ring VIRTIO
      virtio_rng HW_RANDOM_VIRTIO
      virtio_scsi SCSI_VIRTIO
      virtiofs VIRTIO_FS
      vmw_vsock_virtio_transport VIRTIO_VSOCKETS
      vmw_vsock_virtio_transport_common VIRTIO_VSOCKETS_COMMON
      vsock VSOCKETS
      vsock_diag VSOCKETS_DIAG
      watchdog WATCHDOG_CORE
      x_tables NETFILTER_XTABLES
      xsk_diag XDP_SOCKETS_DIAG
      xt_tcpudp NETFILTER_XTABLES
      """
          .lines()
          .map(line -> List.of(line.split(" ")))
          .collect(
              Collectors.toUnmodifiableMap(
                  words -> words.get(0), words -> words.subList(1, words.size())));

  /** How options start instead, by the first word of the modules' names. */
  private static final Map<String, String> FAMILIES =
      Map.of(
          "act_", "NET_ACT_",
          "cls_", "NET_CLS_",
          "ebt_", "BRIDGE_EBT_",
          "ebtable_", "BRIDGE_EBT_T_",
          "em_", "NET_EMATCH_",
          "ip6table_", "IP6_NF_",
          "iptable_", "IP_NF_",
          "nfnetlink_", "NETFILTER_NETLINK_",
          "sch_", "NET_SCH_",
          "tcp_", "TCP_CONG_");

  /** Of extensions of iptables, whose targets are in capital letters and whose matches are not. */
  private static final Map<String, String> EXTENSIONS =
      Map.of("ip6t_", "IP6_NF_", "ipt_", "IP_NF_", "xt_", "NETFILTER_XT_");

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
    List<String> irregular = IRREGULAR.get(module);
    if (irregular != null) {
      return irregular;
    }
    String family = module.substring(0, module.indexOf('_') + 1);
    String rest = module.substring(family.length());
    String upper = rest.toUpperCase(Locale.ROOT);
    String extension = EXTENSIONS.get(family);
    if (extension != null) {
      // One that is both, such as xt_mark, has an option that is neither's.
      return List.of(
          extension + upper, extension + (rest.equals(upper) ? "TARGET_" : "MATCH_") + upper);
    }
    String start = FAMILIES.get(family);
    if (start != null) {
      return List.of(start + upper);
    }
    String name = module.toUpperCase(Locale.ROOT);
    return List.of(name, name + "_FS", "BLK_DEV_" + name);
  }
}
