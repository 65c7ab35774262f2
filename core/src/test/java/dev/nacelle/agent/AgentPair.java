// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.fake.InMemoryGuestConnection;
import dev.nacelle.spi.GuestConnection;
import io.grpc.BindableService;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** A client and a server of the agent's contract, connected as host and guest are. */
final class AgentPair implements AutoCloseable {
  static final int SMALL = 1 << 12;
  static final int LARGE = 1 << 18;

  final AgentClient client;
  final InMemoryGuestConnection host;
  final InMemoryGuestConnection guest;
  private final ExecutorService hypervisor =
      Executors.newSingleThreadExecutor(
          task -> {
            Thread thread = new Thread(task, "fake-hypervisor");
            thread.setDaemon(true);
            return thread;
          });
  private final AgentLoops loops = new AgentLoops(1);
  private final @Nullable FakeAgentServer server;

  AgentPair(@Nullable BindableService service, int capacity, long seed) {
    InMemoryGuestConnection.Pair pair =
        InMemoryGuestConnection.pair(capacity, seed, hypervisor, 40_000, AgentClient.PORT);
    host = pair.host();
    guest = pair.guest();
    CompletableFuture<GuestConnection> dialled = new CompletableFuture<>();
    client = loops.client(dialled);
    dialled.complete(host);
    if (service == null) {
      server = null;
    } else {
      server = new FakeAgentServer(service);
      server.accept(guest);
    }
  }

  static AgentPair with(Map<String, FakeProgram> programs, int capacity, long seed) {
    return new AgentPair(new FakeAgent(programs, () -> {}), capacity, seed);
  }

  /** Starts a process. */
  AgentProcess run(ProcessRequest request, ProcessListener listener, @Nullable Duration deadline) {
    AgentProcess process = client.process(request, listener, deadline);
    process.start();
    return process;
  }

  /**
   * Has the guest write as fast as the host reads, and read nothing; false when the host has ended
   * the connection.
   */
  boolean writeAll(ByteBuffer bytes) throws InterruptedException {
    Semaphore writable = new Semaphore(0);
    guest.setEventListener(writable::release);
    try {
      while (bytes.hasRemaining()) {
        guest.write(bytes);
        if (bytes.hasRemaining()) {
          writable.acquire();
        }
      }
      return true;
    } catch (IOException e) {
      return false;
    }
  }

  /** Ends the client's event loops, and not its connection. */
  void endLoops() {
    loops.close();
  }

  @Override
  public void close() throws InterruptedException {
    client.close();
    client.disconnected().join();
    loops.close();
    if (server != null) {
      server.close();
    }
    hypervisor.shutdown();
    hypervisor.awaitTermination(1, TimeUnit.MINUTES);
  }
}
