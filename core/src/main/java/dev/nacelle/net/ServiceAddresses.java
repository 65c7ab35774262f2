// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Ip;
import java.util.HashMap;
import java.util.Map;

/**
 * Where services of the host's seem to be: one address each, of the block that the sandbox's own
 * address is of, for it is nobody's on any network (RFC 2544). A name keeps its address as long as
 * the network lives, and no other gets it: programs keep what they were told. Safe for use from
 * several threads.
 */
final class ServiceAddresses {
  private static final int BLOCK = 198 << 24 | 18 << 16;

  /** 198.18.1.1 to 198.18.255.255. */
  private static final int FIRST = 1 << 8 | 1;

  private static final int LAST = 0xffff;

  private final Map<String, Ip> addresses = new HashMap<>();

  /**
   * The name's.
   *
   * @throws IllegalArgumentException when there have been so many names that none is left
   */
  synchronized Ip of(String name) {
    Ip known = addresses.get(name);
    if (known != null) {
      return known;
    }
    int next = FIRST + addresses.size();
    if (next > LAST) {
      throw new IllegalArgumentException(
          "the sandbox has had services of the host's by "
              + addresses.size()
              + " names, and can have no other");
    }
    Ip address = Ip.v4(BLOCK | next);
    addresses.put(name, address);
    return address;
  }
}
