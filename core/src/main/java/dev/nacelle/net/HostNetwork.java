// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Ip;
import dev.nacelle.network.NetworkListener;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.NetworkStatistics;
import dev.nacelle.network.PublishedPort;
import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The host's side of one sandbox's network, from before its machine is made until after that has
 * ended. Safe for use from several threads.
 */
public final class HostNetwork implements AutoCloseable {
  /** The guest's agent connects to this port of the host's once; its workload must not. */
  public static final int PORT = 1025;

  private static final Duration TURN = Duration.ofSeconds(1);

  /** Any. */
  private static final Ip SOME_ADDRESS = Ip.v4(0x7f00_0001);

  private final NetworkLoop loop;
  private final Surroundings surroundings;
  private final EventSink events;
  private final Publisher publisher;
  private final Pins pins;
  private final ServiceAddresses services = new ServiceAddresses();

  // On the loop.
  private ActivePolicy policy;
  private @Nullable FlowTable table;
  private NetworkStatistics last = NetworkStatistics.builder().build();
  private NetworkLoop.@Nullable Timer turnTimer;
  private boolean closed;

  /**
   * Opens published ports, which take nobody before the guest has connected.
   *
   * @param loop on which all of it happens
   * @param hosts which addresses are the host's
   * @param nameServers whom names are asked of
   * @param memory for what receivers do not take
   * @param sandboxId for events
   * @param policy other than {@link NetworkPolicy#none()}
   * @param listener is told events on the executor's threads
   * @throws IOException when a published port cannot be had; it says which
   */
  public static HostNetwork open(
      NetworkLoop loop,
      HostAddresses hosts,
      NameServers nameServers,
      NetworkMemory memory,
      String sandboxId,
      NetworkPolicy policy,
      List<PublishedPort> published,
      NetworkListener listener,
      Executor executor)
      throws IOException {
    return new HostNetwork(
        loop,
        Surroundings.of(hosts, nameServers, memory),
        new EventSink(sandboxId, listener, executor),
        policy,
        new Publisher(published),
        new Pins(System::nanoTime, Pins.CAPACITY));
  }

  HostNetwork(
      NetworkLoop loop,
      Surroundings surroundings,
      EventSink events,
      NetworkPolicy policy,
      Publisher publisher,
      Pins pins) {
    this.loop = loop;
    this.surroundings = surroundings;
    this.events = events;
    this.policy = ActivePolicy.of(policy, services);
    this.publisher = publisher;
    this.pins = pins;
  }

  /** Whether the guest is to have IPv6. */
  public boolean ipv6() {
    return surroundings.ipv6();
  }

  /**
   * Takes the guest's connection, the only one. Does not block.
   *
   * @throws UncheckedIOException when the host gives no selector, as without free descriptors, or
   *     no thread; the connection is closed then
   */
  public void accept(GuestConnection connection) {
    try {
      loop.execute(() -> begin(connection));
    } catch (RejectedExecutionException e) {
      connection.close();
    } catch (UncheckedIOException e) {
      connection.close();
      throw e;
    }
  }

  private void begin(GuestConnection connection) {
    if (closed || table != null) {
      connection.close();
      return;
    }
    FlowTable flows =
        new FlowTable(loop, connection, policy, publisher, pins, surroundings, events);
    table = flows;
    turnTimer = loop.schedule(this::turn, TURN);
    flows.begin();
  }

  private void turn() {
    turnTimer = loop.schedule(this::turn, TURN);
    events.tellLimits();
    // While somebody asks, they are read again on another thread: no flow is to wait for that.
    boolean unused = surroundings.isHosts().test(SOME_ADDRESS);
  }

  /** Where published ports are. */
  public Map<PublishedPort, InetSocketAddress> published() {
    return Map.copyOf(publisher.addresses());
  }

  /**
   * Asks whether a program of the sandbox accepts connections there, by one that ends at once.
   *
   * @param guestPort of TCP
   * @return completes when it does, exceptionally with a {@link ConnectException} when it does not;
   *     with an answer in any case, within the policy's timeout of connections
   */
  public CompletableFuture<Void> probe(int guestPort) {
    CompletableFuture<Void> answer = new CompletableFuture<>();
    ask(
        flows -> {
          if (closed || flows == null) {
            answer.completeExceptionally(new ConnectException("the sandbox has no network now"));
          } else {
            flows.acceptor().probe(guestPort, answer);
          }
          return "";
        });
    return answer;
  }

  /** The machine stands still, or goes on: while it does, the guest is given no time. */
  public void setPaused(boolean paused) {
    ask(
        flows -> {
          if (flows != null) {
            flows.deadlines().setPaused(paused);
          }
          return "";
        });
  }

  /** Counters; of a network that was closed, the last. */
  public NetworkStatistics statistics() {
    return ask(flows -> flows == null ? last : flows.statistics());
  }

  /**
   * Makes another policy ready to be had. May take its time to have a proxy's name resolved.
   *
   * @param changed with {@link NetworkPolicy#none()} nothing passes, published ports among it
   * @return has it from then on: when that has run it counts, for flows that there are, too
   */
  public Runnable prepare(NetworkPolicy changed) {
    ActivePolicy active = ActivePolicy.of(changed, services);
    return () ->
        ask(
            flows -> {
              policy = active;
              if (flows != null) {
                flows.update(active);
              }
              return "";
            });
  }

  /** On the loop; when that has ended, or could not begin, here. */
  private <T> T ask(Function<@Nullable FlowTable, T> question) {
    if (loop.isCurrent()) {
      return question.apply(table);
    }
    CompletableFuture<T> answer = new CompletableFuture<>();
    try {
      loop.execute(
          () -> {
            try {
              answer.complete(question.apply(table));
            } catch (RuntimeException | Error e) {
              answer.completeExceptionally(e);
            }
          });
    } catch (RejectedExecutionException | UncheckedIOException e) {
      return question.apply(table);
    }
    return answer.join();
  }

  /** Ends all flows and closes all ports. Idempotent. */
  @Override
  public void close() {
    ask(
        flows -> {
          if (!closed) {
            closed = true;
            if (turnTimer != null) {
              turnTimer.cancel();
            }
            publisher.close();
            if (flows != null) {
              flows.close();
              last = flows.statistics();
            }
            loop.serve();
          }
          return "";
        });
  }
}
