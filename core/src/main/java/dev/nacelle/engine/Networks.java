// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.NacelleException;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Stage;
import dev.nacelle.internal.jfr.Recordings;
import dev.nacelle.net.HostAddresses;
import dev.nacelle.net.HostNetwork;
import dev.nacelle.net.NameServers;
import dev.nacelle.net.NetworkLoop;
import dev.nacelle.net.NetworkMemory;
import dev.nacelle.network.NetworkListener;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Networks of sandboxes, and the few threads that all of them share: none before the first network,
 * and at most four. Safe for use from several threads.
 */
final class Networks implements AutoCloseable {
  private static final int MOST_THREADS = 4;

  private final Executor executor;
  private final List<NetworkLoop> loops;
  private final AtomicInteger next = new AtomicInteger();
  private final List<InetSocketAddress> nameServers;
  private final NetworkMemory memory = NetworkMemory.ofRuntime();
  private @Nullable Host host; // guarded by this

  /** What all networks are told of the host. */
  private record Host(HostAddresses addresses, NameServers nameServers) {}

  /**
   * @param nameServers whom names of sandboxes are asked of; empty for whom the host asks
   * @param executor reads what blocks, and runs listeners
   */
  Networks(List<InetSocketAddress> nameServers, Executor executor) {
    this.nameServers = nameServers;
    this.executor = executor;
    int threads = Math.min(MOST_THREADS, Runtime.getRuntime().availableProcessors());
    loops =
        IntStream.rangeClosed(1, threads)
            .mapToObj(number -> new NetworkLoop("nacelle-network-" + number))
            .toList();
  }

  /**
   * Opens the network of a sandbox that is to have one.
   *
   * @param id the sandbox's
   * @param name likewise, for messages
   * @throws NacelleException when a published port, or what all networks need, cannot be had
   */
  HostNetwork open(String id, String name, SandboxSpec spec) {
    Host known = host(name);
    NetworkLoop loop = loops.get(Math.floorMod(next.getAndIncrement(), loops.size()));
    try {
      return HostNetwork.open(
          loop,
          known.addresses,
          known.nameServers,
          memory,
          id,
          spec.network(),
          List.copyOf(spec.published()),
          recording(name, spec.networkListener().orElse(event -> {})),
          executor);
    } catch (IOException e) {
      throw new NacelleException(
          Stage.CREATE,
          "The sandbox " + name + " cannot have its network: " + e.getMessage(),
          "Publish the port on another of the host, or on a free one.",
          e);
    }
  }

  private static NetworkListener recording(String sandbox, NetworkListener listener) {
    return event -> {
      Recordings.network(sandbox, event);
      listener.onEvent(event);
    };
  }

  private synchronized Host host(String name) {
    Host known = host;
    if (known == null) {
      try {
        known =
            new Host(
                new HostAddresses(executor),
                nameServers.isEmpty() ? NameServers.ofHost(executor) : NameServers.of(nameServers));
      } catch (IOException e) {
        throw new NacelleException(
            Stage.CREATE,
            "The sandbox " + name + " cannot have a network: the host's addresses are not known",
            null,
            e);
      }
      host = known;
    }
    return known;
  }

  /** Ends the threads, and waits for that; networks must have been closed. */
  @Override
  public void close() {
    loops.forEach(NetworkLoop::close);
  }
}
