// SPDX-License-Identifier: Apache-2.0
/** Client of the guest agent: gRPC over a connection with the guest. The only user of gRPC. */
@NullMarked
package dev.nacelle.agent;

import org.jspecify.annotations.NullMarked;
