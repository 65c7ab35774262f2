// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.net.SocketAddress;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Where one guest's agent is found: the connection that the guest is going to dial. Each machine
 * has an address object of its own, so nothing that gRPC keeps per address is shared between
 * guests.
 */
final class GuestAddress extends SocketAddress {
  private static final long serialVersionUID = 1L;

  private final transient CompletableFuture<GuestConnection> dialled;
  private final transient AtomicBoolean taken = new AtomicBoolean();

  GuestAddress(CompletableFuture<GuestConnection> dialled) {
    this.dialled = dialled;
  }

  /**
   * The connection, for the first caller. It is established once: what gRPC believes to be a second
   * attempt can only fail.
   */
  CompletableFuture<GuestConnection> take() {
    return taken.compareAndSet(false, true)
        ? dialled
        : CompletableFuture.failedFuture(
            new IOException("the connection to the guest agent has ended"));
  }

  @Override
  public String toString() {
    return "guest";
  }
}
