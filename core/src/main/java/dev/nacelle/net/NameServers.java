// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Ip;
import java.io.IOException;
import java.io.InputStream;
import java.lang.System.Logger.Level;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Hashtable;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.LongSupplier;
import javax.naming.Context;
import javax.naming.NamingException;
import javax.naming.directory.InitialDirContext;
import org.jspecify.annotations.Nullable;

/**
 * Whom names of sandboxes are asked of: those that are given, or the host's own, which are read
 * again every few seconds while somebody asks, for a host changes networks. Safe for use from
 * several threads; asking does not block.
 *
 * <p>The host's own are those of {@code /etc/resolv.conf} (resolv.conf(5)); where that has none,
 * the one on this machine. On Windows, they are what the JDK's provider of DNS for JNDI takes from
 * the system: a runtime without the module {@code jdk.naming.dns} does not know them, and a
 * sandbox's names are not resolved unless servers are given.
 */
public final class NameServers {
  private static final long FRESH = Duration.ofSeconds(3).toNanos();
  private static final Path RESOLV_CONF = Path.of("/etc/resolv.conf");
  private static final int MAX_BYTES = 64 << 10;
  private static final int PORT = 53;

  /** Of the host's: as many as the C library takes, and as a question is asked times. */
  private static final int MOST = 3;

  /** Three times it is less than the 5 s for which the C library waits before it asks again. */
  private static final Duration PATIENCE = Duration.ofMillis(1500);

  private final @Nullable Source source;
  private final @Nullable Executor executor;
  private final Duration patience;
  private final LongSupplier nanoTime;
  private final AtomicBoolean reading = new AtomicBoolean();
  private volatile Seen seen;

  /** Written by who reads. */
  private volatile boolean failed;

  /** Where the host's are; reading blocks. */
  interface Source {
    List<InetSocketAddress> read() throws IOException;
  }

  private record Seen(List<InetSocketAddress> servers, long time) {}

  private NameServers(
      @Nullable Source source,
      @Nullable Executor executor,
      List<InetSocketAddress> first,
      Duration patience,
      LongSupplier nanoTime) {
    this.source = source;
    this.executor = executor;
    this.patience = patience;
    this.nanoTime = nanoTime;
    seen = new Seen(List.copyOf(first), nanoTime.getAsLong());
  }

  /**
   * These.
   *
   * @param servers in the order in which they are asked; resolved
   */
  public static NameServers of(List<InetSocketAddress> servers) {
    return of(servers, PATIENCE);
  }

  static NameServers of(List<InetSocketAddress> servers, Duration patience) {
    return new NameServers(null, null, servers, patience, System::nanoTime);
  }

  /**
   * The host's own, which are read: that blocks.
   *
   * @param executor reads them again
   */
  public static NameServers ofHost(Executor executor) {
    String system = System.getProperty("os.name").toLowerCase(Locale.ROOT);
    return of(system.startsWith("windows") ? NameServers::fromJndi : ofFile(RESOLV_CONF), executor);
  }

  static NameServers of(Source source, Executor executor) {
    return of(source, executor, System::nanoTime);
  }

  /**
   * @param nanoTime as {@link System#nanoTime()}
   */
  static NameServers of(Source source, Executor executor, LongSupplier nanoTime) {
    NameServers servers = new NameServers(source, executor, List.of(), PATIENCE, nanoTime);
    servers.readAgain();
    return servers;
  }

  /** Those that count now; empty where none are known. */
  List<InetSocketAddress> servers() {
    Seen last = seen;
    Executor reader = executor;
    if (reader != null
        && nanoTime.getAsLong() - last.time > FRESH
        && reading.compareAndSet(false, true)) {
      try {
        reader.execute(this::readAgain);
      } catch (RuntimeException | Error e) {
        // All ends, or there is no thread just now: what is known is good enough until the next
        // time.
        reading.set(false);
      }
    }
    return last.servers;
  }

  /** How long one is waited for before the next is asked, too. */
  Duration patience() {
    return patience;
  }

  private void readAgain() {
    Source from = source;
    List<InetSocketAddress> servers = seen.servers;
    try {
      if (from != null) {
        servers = List.copyOf(from.read());
      }
      failed = false;
    } catch (IOException e) {
      Level level = failed ? Level.DEBUG : Level.WARNING;
      System.getLogger(NameServers.class.getName())
          .log(level, "the host's name servers are not known: " + e.getMessage());
      failed = true;
    } finally {
      seen = new Seen(servers, nanoTime.getAsLong());
      reading.set(false);
    }
  }

  static Source ofFile(Path file) {
    return () -> {
      try (InputStream in = Files.newInputStream(file)) {
        return parse(new String(in.readNBytes(MAX_BYTES), StandardCharsets.ISO_8859_1));
      } catch (NoSuchFileException e) {
        return parse("");
      }
    };
  }

  /** What resolv.conf(5) says: {@code nameserver} and an address, which begin a line. */
  static List<InetSocketAddress> parse(String text) {
    List<InetSocketAddress> servers = new ArrayList<>();
    for (String line : text.lines().toList()) {
      String[] words = line.split("[ \t]+", 3);
      if (words.length > 1 && words[0].equals("nameserver")) {
        add(servers, words[1], PORT);
      }
    }
    if (servers.isEmpty()) {
      servers.add(new InetSocketAddress(Ip.v4(0x7f00_0001).toInetAddress(), PORT));
    }
    return servers;
  }

  private static void add(List<InetSocketAddress> servers, String text, int port) {
    InetAddress address = address(text);
    if (address != null && servers.size() < MOST) {
      servers.add(new InetSocketAddress(address, port));
    }
  }

  /** An address, with a scope where it has one; null where it is none. */
  private static @Nullable InetAddress address(String text) {
    int percent = text.indexOf('%');
    Ip ip = Ip.parse(percent < 0 ? text : text.substring(0, percent));
    if (ip == null) {
      return null;
    }
    if (percent < 0 || !ip.v6()) {
      return ip.toInetAddress();
    }
    String scope = text.substring(percent + 1);
    try {
      if (!scope.isEmpty() && scope.length() < 10 && scope.chars().allMatch(Character::isDigit)) {
        return Inet6Address.getByAddress(null, ip.bytes(), Integer.parseInt(scope));
      }
      NetworkInterface link = NetworkInterface.getByName(scope);
      return link == null ? null : Inet6Address.getByAddress(null, ip.bytes(), link);
    } catch (IOException e) {
      // The link has no such address, so that there is no way to the server.
      return null;
    }
  }

  /**
   * The JDK asks the system for them, and says them as URLs: "Domain Name Service Provider for the
   * Java Naming Directory Interface", section "java.naming.provider.url".
   */
  @SuppressWarnings("JdkObsolete") // What InitialDirContext takes.
  static List<InetSocketAddress> fromJndi() throws IOException {
    Hashtable<String, String> environment = new Hashtable<>();
    environment.put(Context.INITIAL_CONTEXT_FACTORY, "com.sun.jndi.dns.DnsContextFactory");
    environment.put(Context.PROVIDER_URL, "dns:");
    List<InetSocketAddress> servers = new ArrayList<>();
    try {
      InitialDirContext context = new InitialDirContext(environment);
      try {
        Object urls = context.getEnvironment().get(Context.PROVIDER_URL);
        for (String url : String.valueOf(urls).split(" ", -1)) {
          addUrl(servers, url);
        }
      } finally {
        context.close();
      }
    } catch (NamingException e) {
      throw new UnknownHostException(
          "this Java runtime cannot ask the system for them ("
              + e
              + "): give it the module jdk.naming.dns, or name the servers");
    }
    return servers;
  }

  /** As {@code dns://192.0.2.1}, {@code dns://192.0.2.1:5353} or {@code dns://[2001:db8::1]}. */
  static void addUrl(List<InetSocketAddress> servers, String url) {
    String host = url.startsWith("dns://") ? url.substring(6) : "";
    int slash = host.indexOf('/');
    host = slash < 0 ? host : host.substring(0, slash);
    int port = PORT;
    int colon = host.lastIndexOf(':');
    if (colon >= 0 && host.indexOf(':') == colon || host.lastIndexOf("]:") == colon - 1) {
      try {
        port = Integer.parseInt(host.substring(colon + 1));
      } catch (NumberFormatException e) {
        return;
      }
      host = host.substring(0, colon);
    }
    if (host.startsWith("[") && host.endsWith("]")) {
      host = host.substring(1, host.length() - 1);
    }
    add(servers, host, port);
  }
}
