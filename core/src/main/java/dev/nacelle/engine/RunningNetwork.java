// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.ProcessException;
import dev.nacelle.SandboxNetwork;
import dev.nacelle.SandboxSpec;
import dev.nacelle.net.HostNetwork;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.NetworkStatistics;
import dev.nacelle.network.PublishedPort;
import dev.nacelle.network.Transport;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/** The network of a sandbox that has started. */
final class RunningNetwork implements SandboxNetwork {
  private static final long BETWEEN_PROBES = TimeUnit.MILLISECONDS.toNanos(50);

  private final GuestCalls calls;
  private final SandboxSpec spec;
  private final CompletableFuture<?> ended;
  private final HostNetwork network;
  private final Object updating = new Object();
  private long updates; // guarded by updating
  private long counting; // guarded by updating: which of these
  private volatile NetworkPolicy policy;

  /**
   * @param ended completes when the sandbox ends, not exceptionally
   */
  RunningNetwork(
      GuestCalls calls, SandboxSpec spec, CompletableFuture<?> ended, HostNetwork network) {
    this.calls = calls;
    this.spec = spec;
    this.ended = ended;
    this.network = network;
    policy = spec.network();
  }

  @Override
  public Map<PublishedPort, InetSocketAddress> published() {
    return network.published();
  }

  @Override
  public InetSocketAddress published(int guestPort) {
    return Objects.requireNonNull(network.published().get(port(guestPort)), "all are opened");
  }

  private PublishedPort port(int guestPort) {
    return spec.published().stream()
        .filter(port -> port.transport() == Transport.TCP && port.guestPort() == guestPort)
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "the port "
                        + guestPort
                        + "/TCP is not published, only "
                        + spec.published().stream()
                            .map(port -> port.guestPort() + "/" + port.transport())
                            .toList()));
  }

  @Override
  public void awaitPort(int guestPort, Duration timeout) {
    PublishedPort.tcp(guestPort);
    long begin = System.nanoTime();
    long limit = TimeUnit.NANOSECONDS.convert(timeout);
    do {
      calls.requireOpen();
      CompletableFuture<Boolean> accepts =
          network.probe(guestPort).handle((done, failure) -> failure == null);
      long left = limit - (System.nanoTime() - begin);
      if (Boolean.TRUE.equals(await(CompletableFuture.anyOf(accepts, ended), left))) {
        return;
      }
      left = limit - (System.nanoTime() - begin);
      await(ended, Math.min(left, BETWEEN_PROBES));
    } while (System.nanoTime() - begin < limit);
    calls.requireOpen();
    throw new ProcessException(
        ProcessException.Reason.TIMED_OUT,
        "Nobody in the sandbox accepts connections on port " + guestPort + " within " + timeout,
        "Look whether its program runs, and listens on 0.0.0.0 rather than on localhost alone.",
        null);
  }

  /** What it completes with; null when it does not within that many nanoseconds. */
  private static @Nullable Object await(CompletableFuture<?> future, long nanos) {
    try {
      return future.get(nanos, TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      return null;
    } catch (ExecutionException e) {
      throw new IllegalStateException("neither of both fails", e);
    } catch (InterruptedException e) {
      throw GuestCalls.interrupted(e);
    }
  }

  /** Its machine stands still, or goes on. */
  void setPaused(boolean paused) {
    network.setPaused(paused);
  }

  @Override
  public NetworkStatistics statistics() {
    return network.statistics();
  }

  @Override
  public NetworkPolicy policy() {
    return policy;
  }

  @Override
  public void update(NetworkPolicy changed) {
    Objects.requireNonNull(changed);
    calls.requireOpen();
    long turn;
    synchronized (updating) {
      turn = ++updates;
    }
    // None waits for another's proxy to be resolved, least of all one that closes the network.
    Runnable prepared = network.prepare(changed);
    synchronized (updating) {
      if (turn > counting) {
        calls.requireOpen();
        prepared.run();
        counting = turn;
        policy = changed;
      }
    }
  }

  void close() {
    network.close();
  }
}
