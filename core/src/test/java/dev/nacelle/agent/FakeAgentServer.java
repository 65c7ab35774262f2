// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.fake.InMemoryGuestConnection;
import io.grpc.BindableService;
import io.grpc.Server;
import io.grpc.netty.NettyServerBuilder;
import io.netty.util.concurrent.DefaultThreadFactory;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.SocketAddress;
import java.util.concurrent.CompletableFuture;
import java.util.logging.Level;
import java.util.logging.Logger;

/** A grpc-netty server that serves over connections that it is handed. */
public final class FakeAgentServer implements AutoCloseable {
  /** It warns of each stream whose client has gone, which is what many tests are about. */
  private static final Logger SERVER_LOGGER = Logger.getLogger("io.grpc.netty.NettyServerHandler");

  private final GuestLoop loop = new GuestLoop(new DefaultThreadFactory("fake-agent", true));
  private final SocketAddress address = new GuestAddress(new CompletableFuture<>());
  private final GuestServerChannel channel = new GuestServerChannel();
  private final Server server;

  public FakeAgentServer(BindableService service) {
    SERVER_LOGGER.setLevel(Level.SEVERE);
    try {
      server =
          NettyServerBuilder.forAddress(address)
              .channelFactory(() -> channel)
              .bossEventLoopGroup(loop)
              .workerEventLoopGroup(loop)
              .directExecutor()
              .maxInboundMessageSize(AgentClient.MAX_REQUEST_BYTES)
              .addService(service)
              .build()
              .start();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Serves this connection. */
  public void accept(InMemoryGuestConnection connection) {
    channel.accept(connection, address);
  }

  @Override
  public void close() {
    server.shutdownNow();
    try {
      server.awaitTermination();
      loop.end();
      loop.awaitEnd();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
