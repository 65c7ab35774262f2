// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.network;

import static dev.nacelle.Refusals.assertRefused;
import static dev.nacelle.Refusals.assertRefusedFor;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.SpecContract;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class NetworkPolicyTest {
  private static final Egress A = Egress.https("a.example");
  private static final Egress B = Egress.addresses("192.0.2.0/24").tcp(1).udp(2, 3);

  private static InetSocketAddress at(int port) {
    return new InetSocketAddress(InetAddress.getLoopbackAddress(), port);
  }

  private static NetworkLimits flows(int most) {
    return NetworkLimits.builder().flows(most).build();
  }

  @Test
  void everySettingCountsIsCopiedAndCanBeTakenBack() throws Exception {
    new SpecContract(NetworkPolicy.class, NetworkPolicy::builder)
        .with("allow", 0, A, B)
        .with("deny", 0, A, B)
        .with("hostService", 1, at(7), at(8))
        .with("upstreamProxy", 0, URI.create("http://a:7"), URI.create("http://a:8"))
        .with("dnsRecords", 0, types(DnsRecordType.TXT), types(DnsRecordType.MX))
        .with("dnsRecords", 0, List.of(DnsRecordType.SRV), List.of(DnsRecordType.CAA))
        .with("limits", 0, flows(7), flows(8))
        .check();
    new SpecContract(NetworkLimits.class, NetworkLimits::builder)
        .with("egress", 0, Rate.perSecond(7), Rate.perSecond(8))
        .with("ingress", 0, Rate.perSecond(7), Rate.perSecond(8))
        .with("opens", 0, Rate.perSecond(7), Rate.perSecond(8))
        .with("dnsQueries", 0, Rate.perSecond(7), Rate.perSecond(8))
        .check();
  }

  private static DnsRecordType[] types(DnsRecordType... types) {
    return types;
  }

  @Test
  void noNetworkIsNotANetworkThatLeadsNowhere() {
    assertTrue(NetworkPolicy.none().isNone());
    assertFalse(NetworkPolicy.internal().isNone());
    assertNotEquals(NetworkPolicy.none(), NetworkPolicy.internal());
    assertEquals(NetworkPolicy.internal(), NetworkPolicy.builder().build());
    assertEquals(NetworkPolicy.internal(), NetworkPolicy.none().toBuilder().build());
    assertEquals(
        NetworkPolicy.internet(), NetworkPolicy.builder().allow(Egress.internet()).build());
    assertEquals("no network", NetworkPolicy.none().toString());
  }

  @Test
  void theOrderOfRulesNeverMatters() {
    NetworkPolicy one = NetworkPolicy.builder().allow(A).allow(B).build();
    NetworkPolicy other = NetworkPolicy.builder().allow(B).allow(A).allow(B).build();
    assertEquals(one, other);
    assertEquals(one.hashCode(), other.hashCode());
    assertEquals(List.of(A, B), one.allowed());
  }

  @Test
  void rulesAreWrittenAsTheyAreRead() {
    assertEquals("https *.b.example, a.example", Egress.https("*.B.example", "a.example").name());
    assertEquals("https a.example:8443", Egress.https("a.example").onPort(8443).toString());
    assertEquals("web a.example, may be private", web().mayBePrivate().toString());
    assertEquals("tcp a.example:22", Egress.tcp("a.example", 22).toString());
    assertEquals("ssh (tcp a.example:22)", Egress.tcp("a.example", 22).named("ssh").toString());
    assertEquals("ssh", Egress.tcp("a.example", 22).named("ssh").name());
    assertEquals("192.0.2.0/24 tcp 1 udp 2-3", B.name());
    assertEquals(
        List.of("10.0.0.0/8", "fd00::/8", "10.1.2.3"),
        Egress.addresses("10.0.0.0/8", "FD00:0::/8", "10.1.2.3/32", "10.0.0.0/8").blocks());
    assertEquals(
        100,
        Egress.https(Collections.nCopies(1, "a".repeat(63) + ".b".repeat(60))).name().length());
    assertEquals(List.of("a.example"), Egress.http("a.example", "A.EXAMPLE").patterns());
  }

  private static Egress.Names web() {
    return Egress.web("a.example");
  }

  @Test
  void whatIsNoNameIsRefusedWithTheReason() {
    assertRefused(
        "'*' would be every name; Egress.internet() is every public address",
        () -> Egress.https("*"));
    assertRefused(
        "'*.com' would be every name of a top-level domain; name at least two labels",
        () -> Egress.https("*.com"));
    assertRefusedFor(
        "is an address and no name; Egress.addresses", () -> Egress.https("192.0.2.1"));
    assertRefusedFor("is an address", () -> Egress.https("2001:db8::1"));
    assertRefusedFor("is an address", () -> Egress.https("[2001:db8::1]"));
    assertRefusedFor("ends in a number", () -> Egress.https("1.2.3"));
    assertRefusedFor("ends in a number", () -> Egress.https("0x7f.0x1"));
    assertRefusedFor("ends in a number", () -> Egress.https("2130706433"));
    assertRefusedFor("is not ASCII", () -> Egress.https("bücher.example"));
    assertRefusedFor("is not ASCII", () -> Egress.https("\u212aelvin.example"));
    assertRefusedFor("no scheme, user, port or path", () -> Egress.https("https://a.example"));
    assertRefusedFor("no scheme, user, port or path", () -> Egress.https("a.example:443"));
    assertRefusedFor("wildcard that does not", () -> Egress.https("a.*.example"));
    assertRefusedFor("wildcard that does not", () -> Egress.https("*a.example.com"));
    assertRefusedFor("wildcard that does not", () -> Egress.https("*.*.example.com"));
    assertRefusedFor("ends in a dot", () -> Egress.https("a.example."));
    assertRefusedFor("it is empty", () -> Egress.https(""));
    assertRefusedFor("a label has 1 to 63", () -> Egress.https("a..example"));
    assertRefusedFor("a label has 1 to 63", () -> Egress.https("a".repeat(64) + ".example"));
    assertRefusedFor("more than 253", () -> Egress.https("a.".repeat(127) + "aa"));
    assertRefusedFor("hyphen", () -> Egress.https("-a.example"));
    assertRefusedFor("hyphen", () -> Egress.https("a-.example"));
    assertRefusedFor("a character other than", () -> Egress.https("a b.example"));
    assertRefusedFor("hostService", () -> Egress.https("localhost"));
    assertRefusedFor("hostService", () -> Egress.https("db.host.internal"));
    assertRefusedFor("hostService", () -> Egress.https("*.host.internal"));
    assertRefusedFor("a rule has 1 to 1024 names, not 0", () -> Egress.https());
    assertRefusedFor(
        "a rule has 1 to 1024 names, not 1025",
        () -> Egress.https(Collections.nCopies(1025, "a.example")));
  }

  @Test
  void namesInUseAreTaken() {
    Egress.https(
        "xn--bcher-kva.example",
        "r3---sn-4g5e.example",
        "_dmarc.example",
        "registry",
        "1.example",
        "a.".repeat(126) + "a",
        "*." + "a.".repeat(124) + "ab");
  }

  @Test
  void whatIsNoBlockIsRefusedWithTheReason() {
    for (String text :
        List.of(
            "",
            "a",
            "10.0.0.0/",
            "10.0.0.0/a",
            "10.0.0.0/08",
            "010.0.0.0/8",
            "10.0.0/8",
            "fe80::1%eth0",
            "10.0.0.0/8/8",
            "10.0.0.0/-1",
            "10.0.0.0/1000",
            "/8")) {
      assertRefusedFor("is no block of addresses", () -> Egress.addresses(text));
    }
    assertRefused(
        "a prefix of 10.0.0.0 has 0 to 32 bits, not 33", () -> Egress.addresses("10.0.0.0/33"));
    assertRefused(
        "'10.20.7.1/16' has bits behind its prefix; the block is 10.20.0.0/16",
        () -> Egress.addresses("10.20.7.1/16"));
    assertRefused(
        "'fd00::1/64' has bits behind its prefix; the block is fd00::/64",
        () -> Egress.addresses("fd00::1/64"));
    assertRefusedFor("0 to 32 bits, not 96", () -> Egress.addresses("::ffff:0.0.0.0/96"));
  }

  @Test
  void portsAreWithinTheirBounds() {
    assertRefused("a port is 1 to 65535, not 0", () -> Egress.tcp("a.example", 0));
    assertRefused("a port is 1 to 65535, not 65536", () -> Egress.udp("a.example", 65_536));
    assertRefused(
        "ports go upwards, not from 2 to 1", () -> Egress.addresses("10.0.0.0/8").tcp(2, 1));
    assertRefused(
        "web is two ports; use https and http on those you mean", () -> web().onPort(8080));
    assertRefused(
        "only a TLS handshake can hide its name", () -> Egress.http("a.example").mayHideName());
    assertRefusedFor("printable ASCII", () -> web().named(""));
    assertRefusedFor("printable ASCII", () -> web().named("a\nb"));
    assertRefusedFor("printable ASCII", () -> web().named("a".repeat(101)));
    Egress.Addresses full = Egress.addresses("10.0.0.0/8");
    for (int port = 1; port <= 64; port++) {
      full = full.tcp(port);
    }
    Egress.Addresses last = full;
    assertRefusedFor("at most 64 ranges", () -> last.tcp(65));
  }

  @Test
  void policiesAreWithinTheirBounds() {
    NetworkPolicy.Builder builder = NetworkPolicy.builder();
    for (int i = 0; i < 1025; i++) {
      builder.allow(A);
    }
    assertRefused("a policy has at most 1024 rules, not 1025", builder::build);
    NetworkPolicy.Builder wide = NetworkPolicy.builder();
    List<String> names = IntStream.range(0, 1024).mapToObj(i -> "a" + i).toList();
    for (int i = 0; i < 17; i++) {
      wide.allow(Egress.https(names));
    }
    assertRefused(
        "a policy has at most 16384 names and blocks in its rules, not 17408", wide::build);
    NetworkPolicy.Builder services = NetworkPolicy.builder();
    for (int i = 0; i < 251; i++) {
      services.hostService("a" + i, at(1));
    }
    assertRefused("a policy has at most 250 services of the host's, not 251", services::build);
    assertRefusedFor("1 to 65536 flows, not 0", () -> NetworkLimits.builder().flows(0));
    assertRefused("a rate is 1 to 2^40, not 0", () -> Rate.perSecond(0));
    assertRefused("a burst is 1 to 2^40, not -1", () -> Rate.perSecond(1).withBurst(-1));
  }

  @Test
  void whatCannotBeReachedIsNoServiceAndNoProxy() throws Exception {
    NetworkPolicy.Builder builder = NetworkPolicy.builder();
    assertRefusedFor("service's name", () -> builder.hostService("a.b", at(1)));
    assertRefusedFor("service's name", () -> builder.hostService("7", at(1)));
    assertRefusedFor(
        "not at an address",
        () -> builder.hostService("a", InetSocketAddress.createUnresolved("a.example", 1)));
    assertRefusedFor("nobody can connect", () -> builder.hostService("a", at(0)));
    assertRefusedFor("resolver's", () -> builder.hostService("a", at(53)));
    assertRefusedFor(
        "nobody can connect", () -> builder.hostService("a", new InetSocketAddress("0.0.0.0", 1)));
    for (String proxy :
        List.of("https://a:1", "http://a", "http://a:1/b", "http://a:1?b", "a:1", "http:a")) {
      assertRefusedFor(
          "a proxy is http://HOST:PORT", () -> builder.upstreamProxy(URI.create(proxy)));
    }
    assertRefused(
        "a proxy that asks for a user cannot be had",
        () -> builder.upstreamProxy(URI.create("http://me:secret@a:1")));
    assertRefusedFor("the internet is denied by not", () -> builder.deny(Egress.internet()));
    assertRefusedFor(
        "multicast", () -> PublishedPort.tcp(1).onAddress(InetAddress.getByName("224.0.0.1")));
  }

  @Test
  void aRuleWithoutPortsIsForAll() {
    Egress.Addresses all = Egress.addresses("10.0.0.0/8");
    assertTrue(all.covers(Transport.TCP, 1));
    assertTrue(all.covers(Transport.ECHO, 0));
    Egress.Addresses some = all.tcp(5, 7);
    assertTrue(some.covers(Transport.TCP, 6));
    assertFalse(some.covers(Transport.TCP, 8));
    assertFalse(some.covers(Transport.UDP, 6));
    assertFalse(some.covers(Transport.ECHO, 0));
  }
}
