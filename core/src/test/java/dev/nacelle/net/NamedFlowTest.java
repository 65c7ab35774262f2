// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.AddressClassTest.ip;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.internal.check.DomainNames;
import dev.nacelle.internal.check.Ip;
import dev.nacelle.net.CompiledPolicy.Admitted;
import dev.nacelle.net.CompiledPolicy.Question;
import dev.nacelle.net.CompiledPolicy.Resolution;
import dev.nacelle.net.Decision.Check;
import dev.nacelle.net.DnsMessage.Answer;
import dev.nacelle.net.DnsMessage.Query;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.Transport;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** From a guest's question to what it may send, through all parts, with a played resolver. */
class NamedFlowTest {
  private static final int GUEST_ID = 0x0101;
  private static final int HOST_ID = 0x0202;
  private static final long SECOND = 1_000_000_000L;
  private static final Ip FIRST = ip("93.184.215.14");
  private static final Ip SECOND_ADDRESS = ip("93.184.215.15");

  private final CompiledPolicy policy =
      CompiledPolicy.of(
          NetworkPolicy.builder()
              .allow(Egress.web("a.example", "*.b.example"))
              .deny(Egress.web("evil.b.example"))
              .build());

  private final List<String> askedUpstream = new ArrayList<>();
  private final Map<String, List<Ip>> upstream = new HashMap<>(Map.of("a.example", List.of(FIRST)));
  private long now;
  private final Pins pins = new Pins(() -> now, 64);

  /** What a guest is answered: its addresses, or the code of an error. */
  private String ask(String name) throws Exception {
    byte[] asked = DnsMessage.question(GUEST_ID, name, DnsType.A);
    Query query = DnsMessage.query(asked, asked.length);
    byte[] reply = answer(query);
    int rcode = reply[3] & 0xf;
    if (rcode != DnsMessage.NOERROR) {
      return "error " + rcode;
    }
    return DnsMessage.answer(reply, reply.length, GUEST_ID, name, DnsType.A).addresses().toString();
  }

  private byte[] answer(Query query) throws Exception {
    String name = DomainNames.canonical(query.name());
    Resolution resolution = policy.resolve(name, query.type());
    if (name == null || resolution.question() == Question.DENIED) {
      return query.reply(DnsMessage.NXDOMAIN, DnsMessage.EDE_BLOCKED, "");
    }
    assertEquals(Question.ASK, resolution.question());
    byte[] question = DnsMessage.question(HOST_ID, name, query.type());
    byte[] answered = resolver(question);
    Answer answer = DnsMessage.answer(answered, answered.length, HOST_ID, name, query.type());
    Admitted admitted = policy.admit(name, answer.addresses(), ip -> false);
    if (admitted.addresses().isEmpty()) {
      return query.reply(DnsMessage.NOERROR, DnsMessage.EDE_BLOCKED, "");
    }
    for (Ip address : admitted.addresses()) {
      assertTrue(pins.pin(name, address, answer.ttl()));
    }
    List<byte[]> data = admitted.addresses().stream().map(Ip::bytes).toList();
    return query.reply(data, Math.min(answer.ttl(), Pins.LONGEST_SECONDS), query.udpSize());
  }

  /** Somebody else's: he answers with an alias. */
  private byte[] resolver(byte[] question) throws Exception {
    Query query = DnsMessage.query(question, question.length);
    askedUpstream.add(query.name());
    List<Ip> addresses = upstream.getOrDefault(query.name(), List.of());
    DnsWriter out = new DnsWriter();
    out.u16(HOST_ID).u16(0x8180).u16(1).u16(1 + addresses.size()).u32(0);
    out.name(query.name()).u16(DnsType.A).u16(1);
    out.name(query.name()).u16(DnsType.CNAME).u16(1).u32(60).u16(8).u8(6).ascii("hidden").u8(0);
    for (Ip address : addresses) {
      out.name("hidden").u16(DnsType.A).u16(1).u32(60).u16(4).bytes(address.bytes());
    }
    return out.toByteArray();
  }

  private Decision dial(Ip address, int port) {
    return policy.decide(Transport.TCP, address, port, ip -> false, pins);
  }

  private static DenialReason tls(Decision decision, String name) throws Exception {
    ClientHello hello = new ClientHello();
    byte[] sent = ClientHelloTest.java(name, "TLSv1.3");
    assertEquals(ClientHello.State.DONE, hello.feed(ByteBuffer.wrap(sent)));
    return decision.judge(Check.TLS, hello.serverName(), hello.mayHideName());
  }

  @Test
  void whatWasAskedForCanBeConnectedToByItsName() throws Exception {
    assertEquals("[93.184.215.14]", ask("a.example"));
    Decision decision = dial(FIRST, 443);
    assertTrue(decision.checks(Check.TLS));
    assertNull(tls(decision, "a.example"));
    assertEquals(DenialReason.SNI_MISMATCH, tls(decision, "neighbour.example"));
    assertEquals(DenialReason.SNI_MISMATCH, tls(decision, ""));
    assertEquals(DenialReason.NOT_RESOLVED, dial(SECOND_ADDRESS, 443).reason());
  }

  @Test
  void everyRequestOfAConnectionIsLookedAt() throws Exception {
    ask("a.example");
    Decision decision = dial(FIRST, 80);
    assertTrue(decision.checks(Check.HTTP));
    HttpHead http = new HttpHead();
    ByteBuffer sent =
        ByteBuffer.wrap(
            HttpHeadTest.bytes(
                "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
                    + "GET / HTTP/1.1\r\nHost: neighbour.example\r\n\r\n"));
    assertEquals(HttpHead.Step.HEAD, http.next(sent));
    assertNull(decision.judge(Check.HTTP, http.host(), false));
    assertEquals(HttpHead.Step.HEAD, http.next(sent));
    assertEquals(DenialReason.HOST_MISMATCH, decision.judge(Check.HTTP, http.host(), false));
  }

  @Test
  void ofNamesThatAreDeniedNobodyHears() throws Exception {
    for (int i = 0; i < 1000; i++) {
      assertEquals("error 3", ask("secret" + i + ".evil.example"));
    }
    assertEquals("error 3", ask("b.example"));
    assertEquals("error 3", ask("evil.b.example"));
    assertEquals("error 3", ask("localhost"));
    assertEquals(List.of(), askedUpstream);
    assertEquals(0, pins.size());
  }

  @Test
  void aNameThatBeginsToLeadIntoTheHostsNetworkDoesNot() throws Exception {
    upstream.put("x.b.example", List.of(SECOND_ADDRESS));
    assertEquals("[93.184.215.15]", ask("x.b.example"));
    upstream.put("x.b.example", List.of(ip("10.0.0.1"), ip("169.254.169.254"), ip("127.0.0.1")));
    assertEquals("[]", ask("x.b.example"));
    assertEquals(DenialReason.NOT_RESOLVED, dial(ip("10.0.0.1"), 443).reason());
    assertEquals(DenialReason.FLOOR, dial(ip("127.0.0.1"), 443).reason());
    assertTrue(dial(SECOND_ADDRESS, 443).isAllowed());
  }

  @Test
  void afterItsTimeAnAddressIsForgottenUnlessAFlowLivesByIt() throws Exception {
    ask("a.example");
    now += 359 * SECOND;
    Decision decision = dial(FIRST, 443);
    assertTrue(decision.isAllowed());
    decision.candidates().forEach(candidate -> candidate.pin().hold());
    now += 3600 * SECOND;
    assertTrue(dial(FIRST, 443).isAllowed());
    decision.candidates().forEach(candidate -> candidate.pin().release());
    assertEquals(DenialReason.NOT_RESOLVED, dial(FIRST, 443).reason());
  }
}
