// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Cidr;
import dev.nacelle.internal.check.Ip;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.InetAddress;
import java.net.NetworkInterface;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.LongSupplier;
import java.util.function.Predicate;

/**
 * The addresses of the host's interfaces, which no sandbox is to reach. Interfaces come and go, so
 * what counts was read within the last 30 seconds that the host was awake; while the host does not
 * tell, of which a warning is logged each time, what it told last goes on counting. Safe for use
 * from several threads.
 *
 * <p>While somebody asks, as each network does every second, they are read again meanwhile, and
 * asking does not block; after a quiet time whoever asks first reads them, which takes about a
 * millisecond where there are few.
 */
public final class HostAddresses implements Predicate<Ip> {
  private static final long OLD = Duration.ofSeconds(30).toNanos();
  private static final long AGING = OLD / 2;
  private static final Cidr GLOBAL = Cidr.parse("2000::/3");

  private final Executor executor;
  private final LongSupplier nanoTime;
  private final AtomicBoolean reading = new AtomicBoolean();
  private volatile Seen seen;

  private record Seen(Set<Ip> addresses, long time) {}

  /**
   * Reads them.
   *
   * @param executor reads them again
   * @throws IOException when the host does not tell
   */
  public HostAddresses(Executor executor) throws IOException {
    this(executor, System::nanoTime);
  }

  /**
   * @param nanoTime as {@link System#nanoTime()}
   */
  HostAddresses(Executor executor, LongSupplier nanoTime) throws IOException {
    this.executor = executor;
    this.nanoTime = nanoTime;
    seen = read();
  }

  private Seen read() throws IOException {
    Set<Ip> addresses = new HashSet<>();
    long time = nanoTime.getAsLong();
    for (NetworkInterface each : NetworkInterface.networkInterfaces().toList()) {
      List<InetAddress> own = each.inetAddresses().toList();
      own.forEach(address -> addresses.add(Ip.of(address)));
    }
    return new Seen(Set.copyOf(addresses), time);
  }

  /** Whether it is one of them. */
  @Override
  public boolean test(Ip address) {
    return current().contains(address);
  }

  private Set<Ip> current() {
    long age = nanoTime.getAsLong() - seen.time;
    if (age >= OLD) {
      readAgain();
    } else if (age >= AGING && reading.compareAndSet(false, true)) {
      try {
        executor.execute(
            () -> {
              try {
                readAgain();
              } finally {
                reading.set(false);
              }
            });
      } catch (RuntimeException | Error e) {
        // All ends, or there is no thread just now. Who asks when they are old reads them.
        reading.set(false);
      }
    }
    return seen.addresses;
  }

  private void readAgain() {
    try {
      seen = read();
    } catch (IOException e) {
      System.getLogger(HostAddresses.class.getName())
          .log(Level.WARNING, "the host's addresses are not known anew", e);
      // What was known counts until the next time.
      seen = new Seen(seen.addresses, nanoTime.getAsLong());
    }
  }

  /** Whether the host seems to have IPv6 beyond its own network: an address for that. */
  public boolean hasIpv6() {
    return current().stream().anyMatch(GLOBAL::contains);
  }
}
