// SPDX-License-Identifier: Apache-2.0
/**
 * What a hypervisor implements and what core sees of it; users of sandboxes need nothing of this.
 *
 * <p>A {@link dev.nacelle.spi.HypervisorProvider}, found with {@link java.util.ServiceLoader},
 * checks the host and opens a {@link dev.nacelle.spi.Hypervisor}, which makes a {@link
 * dev.nacelle.spi.VirtualMachine} of each {@link dev.nacelle.spi.VmSpec}. What a machine must do is
 * written down as tests: {@code AbstractHypervisorContractTest} in this project's sources is run
 * against each hypervisor. Types here may change in any version before 1.0.
 */
@NullMarked
package dev.nacelle.spi;

import org.jspecify.annotations.NullMarked;
