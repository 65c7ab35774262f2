// SPDX-License-Identifier: Apache-2.0
/** The host's side of a sandbox's network, without a machine. */
@NullMarked
package dev.nacelle.net;

import org.jspecify.annotations.NullMarked;
