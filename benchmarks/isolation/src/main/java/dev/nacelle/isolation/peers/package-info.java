// SPDX-License-Identifier: Apache-2.0

/**
 * Machines of other monitors, each a process of the host, behind {@link
 * dev.nacelle.spi.Hypervisor}: so all that is above it, images, agent and engine, is the same for
 * them and for Nacelle's own. For comparing, not for use: they have no limits of rates and no
 * pause.
 */
@NullMarked
package dev.nacelle.isolation.peers;

import org.jspecify.annotations.NullMarked;
