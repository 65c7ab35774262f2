// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.network;

/** What carries bytes. More may be added: a {@code switch} has a default. */
public enum Transport {
  /** A connection. */
  TCP,
  /** Datagrams. */
  UDP,
  /** Requests of ICMP's and ICMPv6's echo, which {@code ping} sends; they have no port. */
  ECHO
}
