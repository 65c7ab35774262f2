// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.network;

/**
 * Ports from one to another.
 *
 * @param first the lowest, 1 to 65535
 * @param last the highest, not below the first
 */
public record PortRange(int first, int last) {
  private static final int MAX = 65_535;

  /**
   * Checks both.
   *
   * @throws IllegalArgumentException when one is no port, or the last is below the first
   */
  public PortRange {
    check(first);
    check(last);
    if (last < first) {
      throw new IllegalArgumentException("ports go upwards, not from " + first + " to " + last);
    }
  }

  static int check(int port) {
    if (port < 1 || port > MAX) {
      throw new IllegalArgumentException("a port is 1 to " + MAX + ", not " + port);
    }
    return port;
  }

  /** Whether a port is among them. */
  public boolean contains(int port) {
    return port >= first && port <= last;
  }

  @Override
  public String toString() {
    return first == last ? Integer.toString(first) : first + "-" + last;
  }
}
