// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

/**
 * The stages of a sandbox's life, in order: keys of a boot timeline, and the "where" of every
 * error. More may be added: a {@code switch} has a default.
 */
public enum Stage {
  /** Finding out what this host can do. */
  HOST,
  /** From an image reference to a filesystem image. */
  IMAGE,
  /** From a kernel reference to an uncompressed kernel and its modules. */
  KERNEL,
  /** Packing the agent and the kernel's modules. */
  INITRAMFS,
  /** Setting up the virtual machine, before its first instruction. */
  CREATE,
  /** From the first instruction to the agent's readiness. */
  BOOT,
  /** The workload's root filesystem, limits and clock. */
  PREPARE,
  /** The sandbox is in use. */
  RUN,
  /** Shutting down and releasing everything. */
  CLOSE
}
