// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.network;

/**
 * Records of DNS, beside addresses, that a sandbox may ask for. More may be added: a {@code switch}
 * has a default.
 */
public enum DnsRecordType {
  /** Name servers: RFC 1035 section 3.3.11. */
  NS(2),
  /** What a name of an address's (in-addr.arpa, ip6.arpa) stands for: RFC 1035 section 3.3.12. */
  PTR(12),
  /** Mail servers: RFC 1035 section 3.3.9. */
  MX(15),
  /** Texts: RFC 1035 section 3.3.14. They carry whatever their owner likes. */
  TXT(16),
  /** Hosts and ports of services: RFC 2782. */
  SRV(33),
  /** Keys of SSH servers: RFC 4255. */
  SSHFP(44),
  /** Certificates of TLS servers: RFC 6698. */
  TLSA(52),
  /** Who may issue certificates: RFC 8659. */
  CAA(257);

  private final int number;

  DnsRecordType(int number) {
    this.number = number;
  }

  /** Its number in DNS. */
  public int number() {
    return number;
  }
}
