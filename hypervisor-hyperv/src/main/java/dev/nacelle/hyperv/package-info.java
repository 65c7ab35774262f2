// SPDX-License-Identifier: Apache-2.0
/**
 * Machines on Windows' hypervisor, as the Host Compute Service makes them: {@link
 * dev.nacelle.hyperv.HypervProvider}, by the name {@code hyperv}. Nothing here is called on other
 * systems; it has never run on Windows.
 *
 * <pre>
 * VmSpec ─▶ MachineDisks      raw images as fixed VHDs, with names and access of the machine's own
 *        ─▶ MachineDocument   what it is to be, as JSON ({@code .schema})
 *        ─▶ ComputeSystem     the service's machine ({@code .sys}); what happens to it: MachineEnd
 *        ─▶ GuestSockets      its connections (AF_HYPERV), one thread for all of them
 *        ─▶ NamedPipe         its console, one thread
 * </pre>
 *
 * <p>All of it ends the other way round. Disks that begin empty are made by {@link
 * dev.nacelle.hyperv.DynamicVhdx} before.
 */
@NullMarked
package dev.nacelle.hyperv;

import org.jspecify.annotations.NullMarked;
