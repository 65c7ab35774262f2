// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

import java.util.List;

/**
 * A numbering of users and groups of the container's own. The image's files keep their owners, as
 * the machine numbers them. Root inside has no privilege over the container's other namespaces: its
 * mounts, its network and its host name are the machine's root's.
 *
 * @param uids how users are numbered
 * @param gids how groups are numbered
 */
public record UserNamespace(List<IdMapping> uids, List<IdMapping> gids) {
  /** UID_GID_MAP_MAX_EXTENTS of linux/user_namespace.h. */
  private static final int MAX_MAPPINGS = 340;

  /**
   * Copies what is given.
   *
   * @throws IllegalArgumentException when either has no mapping, or more than 340
   */
  public UserNamespace {
    uids = checked("users", uids);
    gids = checked("groups", gids);
  }

  static List<IdMapping> checked(String what, List<IdMapping> mappings) {
    if (mappings.isEmpty() || mappings.size() > MAX_MAPPINGS) {
      throw new IllegalArgumentException(
          "there are 1 to " + MAX_MAPPINGS + " mappings of " + what + ", not " + mappings.size());
    }
    return List.copyOf(mappings);
  }
}
