// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.network;

import dev.nacelle.internal.check.Cidr;
import dev.nacelle.internal.check.DomainNames;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Where a sandbox may connect to, or where it may not: a rule of a {@link NetworkPolicy}.
 * Immutable.
 *
 * <p><b>By name.</b> The rule is for addresses that the sandbox was told for such a name by its
 * resolver, which is the host's; an address that it was not told is refused, also where the name
 * has it. {@code example.com} is that name alone; {@code *.example.com} is every name below it, of
 * however many labels, and not {@code example.com} itself. A wildcard stands in front of at least
 * two labels: {@code *} and {@code *.com} are refused. Suffixes under which anybody registers
 * names, such as {@code *.co.uk}, are not known here. Names are ASCII, others are written as in DNS
 * ({@code xn--...}).
 *
 * <ul>
 *   <li>{@link #https(String...)}: the name in the TLS handshake (SNI) is one of the rule's that
 *       the address was told for. Another name on the same server is refused, and none of the
 *       sandbox's bytes reach it.
 *   <li>{@link #http(String...)}: the Host of every request is.
 *   <li>{@link #tcp(String, int)} and {@link #udp(String, int)}: weaker. Nobody looks into what is
 *       sent, so whatever else is served on that address and port is reached as well.
 * </ul>
 *
 * <p>What none of them can see: names that a server takes from within TLS. Where one machine serves
 * many customers and goes by an HTTP request's Host rather than the SNI, an allowed name leads to
 * the others. And questions for names below a wildcard go to that name's own servers, which see
 * them.
 *
 * <p><b>By address.</b> {@link #addresses(String...)}, whatever their names are.
 *
 * <p>Ranges that are not public are closed to both, as {@link NetworkPolicy} says.
 */
public sealed interface Egress {
  /** The most names or blocks of one rule: 1024. */
  int MAXIMUM = 1024;

  /** What events, statistics and the guest call the rule: its text, unless it was given a name. */
  String name();

  /**
   * The same by another name. Rules of the same name are counted together.
   *
   * @throws IllegalArgumentException when it is not 1 to 100 characters of printable ASCII
   */
  Egress named(String name);

  /**
   * HTTPS by name: TCP port 443, with the SNI checked.
   *
   * @throws IllegalArgumentException when there are none or more than {@link #MAXIMUM}, or one is
   *     no name or an address
   */
  static Names https(String... names) {
    return https(List.of(names));
  }

  /** As {@link #https(String...)}. */
  static Names https(List<String> names) {
    return Names.of(Kind.HTTPS, List.of(443), names);
  }

  /**
   * HTTP by name: TCP port 80, with the Host of every request checked. HTTP/2 without TLS is
   * refused, and so is a content that waits for the server's leave ({@code Expect: 100-continue}):
   * who answers otherwise may take it for another request. For the same reason so is a request with
   * content that asks for another protocol, as those of Java's {@code HttpClient} do that were not
   * told {@code version(HTTP_1_1)}.
   *
   * <p>What remains: a server that does not read a request's content, such as a GET's, takes it for
   * the next request, whose Host is then not checked.
   *
   * @throws IllegalArgumentException as {@link #https(String...)}
   */
  static Names http(String... names) {
    return http(List.of(names));
  }

  /** As {@link #http(String...)}. */
  static Names http(List<String> names) {
    return Names.of(Kind.HTTP, List.of(80), names);
  }

  /**
   * Both {@link #http(String...)} and {@link #https(String...)}.
   *
   * @throws IllegalArgumentException as {@link #https(String...)}
   */
  static Names web(String... names) {
    return web(List.of(names));
  }

  /** As {@link #web(String...)}. */
  static Names web(List<String> names) {
    return Names.of(Kind.WEB, List.of(80, 443), names);
  }

  /**
   * Any protocol over TCP, by name. Weaker than {@link #https(String...)}: what is sent is not
   * looked into.
   *
   * @throws IllegalArgumentException when it is no name, or no port
   */
  static Names tcp(String name, int port) {
    return Names.of(Kind.TCP, List.of(PortRange.check(port)), List.of(name));
  }

  /**
   * Datagrams, by name. Weaker than {@link #https(String...)}: what is sent is not looked into.
   *
   * @throws IllegalArgumentException when it is no name, or no port
   */
  static Names udp(String name, int port) {
    return Names.of(Kind.UDP, List.of(PortRange.check(port)), List.of(name));
  }

  /**
   * Blocks of addresses: {@code 10.20.0.0/16}, {@code fd00:1::/32}, or one address. All ports of
   * TCP and UDP, and ping, unless ports are named: {@code
   * Egress.addresses("10.20.0.0/16").tcp(5432)}.
   *
   * @throws IllegalArgumentException when there are none or more than {@link #MAXIMUM}, or one is
   *     no block, or has bits behind its prefix
   */
  static Addresses addresses(String... blocks) {
    return addresses(List.of(blocks));
  }

  /** As {@link #addresses(String...)}. */
  static Addresses addresses(List<String> blocks) {
    return Addresses.of(blocks);
  }

  /**
   * Every public address and every port, and all names. DNS is then no barrier, for whatever the
   * sandbox asks goes to somebody's server.
   */
  static Internet internet() {
    return Internet.ALL;
  }

  /** What rules by name are for. More may be added: a {@code switch} has a default. */
  enum Kind {
    /** {@link Egress#https(String...)} */
    HTTPS,
    /** {@link Egress#http(String...)} */
    HTTP,
    /** {@link Egress#web(String...)} */
    WEB,
    /** {@link Egress#tcp(String, int)} */
    TCP,
    /** {@link Egress#udp(String, int)} */
    UDP
  }

  /** A rule by name. Immutable. */
  final class Names implements Egress {
    private final Kind kind;
    private final List<Integer> ports;
    private final List<String> patterns;
    private final boolean allowsPrivate;
    private final boolean allowsHiddenName;
    private final @Nullable String name;

    private Names(
        Kind kind,
        List<Integer> ports,
        List<String> patterns,
        boolean allowsPrivate,
        boolean allowsHiddenName,
        @Nullable String name) {
      this.kind = kind;
      this.ports = ports;
      this.patterns = patterns;
      this.allowsPrivate = allowsPrivate;
      this.allowsHiddenName = allowsHiddenName;
      this.name = name;
    }

    private static Names of(Kind kind, List<Integer> ports, List<String> names) {
      List<String> patterns = RuleText.each("names", names, DomainNames::pattern);
      return new Names(kind, ports, patterns, false, false, null);
    }

    /**
     * The same on another port: a registry on 5000, for example.
     *
     * @throws IllegalArgumentException when it is no port, or the rule is for {@link #web}, which
     *     has two
     */
    public Names onPort(int port) {
      if (kind == Kind.WEB) {
        throw new IllegalArgumentException(
            "web is two ports; use https and http on those you mean");
      }
      List<Integer> one = List.of(PortRange.check(port));
      return new Names(kind, one, patterns, allowsPrivate, allowsHiddenName, name);
    }

    /**
     * The same, also where a name has addresses that are not public. Without it they are neither
     * told nor connected to: whoever answers for a name could otherwise lead the sandbox into the
     * host's network (DNS rebinding).
     */
    public Names mayBePrivate() {
      return new Names(kind, ports, patterns, true, allowsHiddenName, name);
    }

    /**
     * The same, also for handshakes with an encrypted ClientHello (ECH, RFC 9849), whose outer name
     * is checked. That is the name of the server which decrypts; the name that it serves is inside
     * and may be another customer's. Chromium and Firefox send one always, also an empty one that
     * looks the same. Without it such handshakes are refused.
     *
     * @throws IllegalArgumentException when the rule is for neither HTTPS nor both
     */
    public Names mayHideName() {
      if (kind != Kind.HTTPS && kind != Kind.WEB) {
        throw new IllegalArgumentException("only a TLS handshake can hide its name");
      }
      return new Names(kind, ports, patterns, allowsPrivate, true, name);
    }

    @Override
    public Names named(String name) {
      return new Names(kind, ports, patterns, allowsPrivate, allowsHiddenName, RuleText.name(name));
    }

    @Override
    public String name() {
      return name == null ? RuleText.cut(text()) : name;
    }

    /** What it is for. */
    public Kind kind() {
      return kind;
    }

    /** Ports, upwards. */
    public List<Integer> ports() {
      return ports;
    }

    /** The names, in lower case. */
    public List<String> patterns() {
      return patterns;
    }

    /** Whether addresses may be others than public ones. */
    public boolean allowsPrivate() {
      return allowsPrivate;
    }

    /** Whether handshakes may have an encrypted ClientHello. */
    public boolean allowsHiddenName() {
      return allowsHiddenName;
    }

    private String text() {
      boolean usual =
          kind == Kind.WEB
              || kind == Kind.HTTPS && ports.get(0) == 443
              || kind == Kind.HTTP && ports.get(0) == 80;
      return kind.name().toLowerCase(Locale.ROOT)
          + " "
          + String.join(", ", patterns)
          + (usual ? "" : ":" + ports.get(0))
          + (allowsPrivate ? ", may be private" : "")
          + (allowsHiddenName ? ", may hide its name" : "");
    }

    private List<@Nullable Object> state() {
      return Arrays.asList(kind, ports, patterns, allowsPrivate, allowsHiddenName, name);
    }

    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof Names that && state().equals(that.state());
    }

    @Override
    public int hashCode() {
      return state().hashCode();
    }

    @Override
    public String toString() {
      return RuleText.titled(name, text());
    }
  }

  /** A rule by address. Immutable. */
  final class Addresses implements Egress {
    private final List<String> blocks;
    private final List<PortRange> tcpPorts;
    private final List<PortRange> udpPorts;
    private final @Nullable String name;

    private Addresses(
        List<String> blocks,
        List<PortRange> tcpPorts,
        List<PortRange> udpPorts,
        @Nullable String name) {
      this.blocks = blocks;
      this.tcpPorts = tcpPorts;
      this.udpPorts = udpPorts;
      this.name = name;
    }

    private static Addresses of(List<String> blocks) {
      List<String> read = RuleText.each("blocks", blocks, block -> Cidr.parse(block).toString());
      return new Addresses(read, List.of(), List.of(), null);
    }

    /**
     * The same for this port of TCP, and others that are named.
     *
     * @throws IllegalArgumentException when it is no port, or there are more than 64 ranges
     */
    public Addresses tcp(int port) {
      return tcp(port, port);
    }

    /**
     * The same for these ports of TCP, and others that are named.
     *
     * @throws IllegalArgumentException when they are none, or there are more than 64 ranges
     */
    public Addresses tcp(int first, int last) {
      return new Addresses(
          blocks, RuleText.plus(tcpPorts, new PortRange(first, last)), udpPorts, name);
    }

    /**
     * The same for this port of UDP, and others that are named.
     *
     * @throws IllegalArgumentException when it is no port, or there are more than 64 ranges
     */
    public Addresses udp(int port) {
      return udp(port, port);
    }

    /**
     * The same for these ports of UDP, and others that are named.
     *
     * @throws IllegalArgumentException when they are none, or there are more than 64 ranges
     */
    public Addresses udp(int first, int last) {
      return new Addresses(
          blocks, tcpPorts, RuleText.plus(udpPorts, new PortRange(first, last)), name);
    }

    @Override
    public Addresses named(String name) {
      return new Addresses(blocks, tcpPorts, udpPorts, RuleText.name(name));
    }

    @Override
    public String name() {
      return name == null ? RuleText.cut(text()) : name;
    }

    /** The blocks, as RFC 5952 writes them; a block of one address without a prefix. */
    public List<String> blocks() {
      return blocks;
    }

    /** Ports of TCP. Where no port of either is named, all are meant, and ping. */
    public List<PortRange> tcpPorts() {
      return tcpPorts;
    }

    /** Ports of UDP. Where no port of either is named, all are meant, and ping. */
    public List<PortRange> udpPorts() {
      return udpPorts;
    }

    /**
     * Whether the rule is for such a port.
     *
     * @param port is not looked at for {@link Transport#ECHO}
     */
    public boolean covers(Transport transport, int port) {
      if (tcpPorts.isEmpty() && udpPorts.isEmpty()) {
        return true;
      }
      List<PortRange> ports =
          transport == Transport.TCP ? tcpPorts : transport == Transport.UDP ? udpPorts : List.of();
      for (PortRange range : ports) {
        if (range.contains(port)) {
          return true;
        }
      }
      return false;
    }

    private String text() {
      return Stream.of(String.join(", ", blocks), ports("tcp", tcpPorts), ports("udp", udpPorts))
          .filter(part -> !part.isEmpty())
          .collect(Collectors.joining(" "));
    }

    private static String ports(String transport, List<PortRange> ports) {
      return ports.isEmpty()
          ? ""
          : ports.stream()
              .map(PortRange::toString)
              .collect(Collectors.joining(", ", transport + " ", ""));
    }

    private List<@Nullable Object> state() {
      return Arrays.asList(blocks, tcpPorts, udpPorts, name);
    }

    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof Addresses that && state().equals(that.state());
    }

    @Override
    public int hashCode() {
      return state().hashCode();
    }

    @Override
    public String toString() {
      return RuleText.titled(name, text());
    }
  }

  /** Every public address. Immutable. */
  final class Internet implements Egress {
    private static final String TEXT = "internet";
    private static final Internet ALL = new Internet(null);

    private final @Nullable String name;

    private Internet(@Nullable String name) {
      this.name = name;
    }

    @Override
    public Internet named(String name) {
      return new Internet(RuleText.name(name));
    }

    @Override
    public String name() {
      return name == null ? TEXT : name;
    }

    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof Internet that && Objects.equals(name, that.name);
    }

    @Override
    public int hashCode() {
      return Objects.hash(TEXT, name);
    }

    @Override
    public String toString() {
      return RuleText.titled(name, TEXT);
    }
  }
}
