// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

/**
 * A module for the guest's agent to load.
 *
 * @param name in canonical form
 * @param content uncompressed
 * @param forDial whether the agent cannot dial the host without it
 * @param promised whether the sandbox does not start when it cannot be loaded: the workload asked
 *     for it; of others only what needs them can tell whether they matter
 */
@SuppressWarnings("ArrayRecordComponent") // Handed from reader to writer, never compared.
record GuestModule(String name, byte[] content, boolean forDial, boolean promised) {}
