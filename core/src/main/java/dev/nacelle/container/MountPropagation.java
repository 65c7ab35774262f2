// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

/** How a mount takes part in what is mounted below it elsewhere: mount_namespaces(7). */
public enum MountPropagation {
  /** Mounts below it appear in its peers, and theirs in it. */
  SHARED,

  /** Mounts of its master's appear in it, and none of its own there. */
  SLAVE,

  /** It has no peers. */
  PRIVATE,

  /** As {@link #PRIVATE}, and it cannot be bound elsewhere. */
  UNBINDABLE
}
