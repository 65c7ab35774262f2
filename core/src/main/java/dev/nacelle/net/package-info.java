// SPDX-License-Identifier: Apache-2.0
/**
 * The host's half of a sandbox's network, without its sockets: what a policy says of an address and
 * a name, and parsers of what guests and servers send. Nothing here does I/O or has a thread.
 */
@NullMarked
package dev.nacelle.net;

import org.jspecify.annotations.NullMarked;
