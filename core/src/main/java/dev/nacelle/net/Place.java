// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Ip;

/** The other end of a flow or a datagram, and the guest's port. Immutable. */
record Place(Ip remote, int remotePort, int localPort) {}
