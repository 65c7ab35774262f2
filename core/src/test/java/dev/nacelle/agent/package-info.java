// SPDX-License-Identifier: Apache-2.0
/** Tests of the guest agent's client against a real gRPC server. */
@NullMarked
package dev.nacelle.agent;

import org.jspecify.annotations.NullMarked;
