// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

/**
 * A range of users or groups of a user namespace: user_namespaces(7).
 *
 * @param containerId the first number inside
 * @param hostId the first number outside, in the sandbox's machine
 * @param size how many there are
 */
public record IdMapping(long containerId, long hostId, long size) {
  /**
   * @throws IllegalArgumentException when there are no such numbers, or none at all
   */
  public IdMapping {
    if (size < 1) {
      throw new IllegalArgumentException("a mapping has at least one number, not " + size);
    }
    Ids.check(containerId);
    Ids.check(hostId);
    Ids.check(Math.max(containerId, hostId) + Math.min(size, 1L << 32) - 1);
  }
}
