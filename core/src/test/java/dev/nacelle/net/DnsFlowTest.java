// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.DnsClient.framed;
import static dev.nacelle.net.DnsMessage.NOERROR;
import static dev.nacelle.net.DnsMessage.NXDOMAIN;
import static dev.nacelle.net.DnsType.A;
import static dev.nacelle.net.DnsType.TXT;
import static dev.nacelle.net.TestNetwork.SERVER;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.net.DnsClient.Told;
import dev.nacelle.net.Frames.Refusal;
import dev.nacelle.net.Frames.Reset;
import dev.nacelle.net.PlayedNameServer.Entry;
import dev.nacelle.network.DnsRecordType;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkEvent.Direction;
import dev.nacelle.network.NetworkEvent.Limit;
import dev.nacelle.network.NetworkEvent.LimitReached;
import dev.nacelle.network.NetworkLimits;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.Rate;
import dev.nacelle.network.Transport;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A guest's connections to its resolver. */
@Timeout(60)
class DnsFlowTest {
  private static final String NAME = "a.example";
  private static final NetworkPolicy POLICY =
      NetworkPolicy.builder()
          .allow(Egress.tcp(NAME, 443))
          .dnsRecords(DnsRecordType.TXT)
          .limits(NetworkLimits.builder().dnsQueries(Rate.perSecond(1).withBurst(100_000)).build())
          .build();

  private PlayedNameServer upstream;
  private TestNetwork test;
  private PlayedAgent agent;
  private DnsClient client;

  @BeforeEach
  void begin() throws Exception {
    upstream = new PlayedNameServer();
    NameServers servers = NameServers.of(List.of(upstream.address()), Duration.ofSeconds(15));
    test = new TestNetwork(POLICY, servers, true, System::nanoTime);
    agent = test.agent;
    client = new DnsClient(agent);
  }

  @AfterEach
  void end() throws Exception {
    test.close();
    upstream.close();
  }

  private static byte[] question(int id, String name) {
    return framed(DnsMessage.question(id, name, A));
  }

  @Test
  void questionsOfOneConnectionAreAnsweredWhenTheirAnswersCome() throws Exception {
    upstream.has(NAME, SERVER);
    int flow = agent.connect("8.8.8.8", 53);
    agent.data(flow, question(1, NAME));
    assertEquals(List.of(SERVER), client.told(flow, 1, NAME, A).addresses());
    ByteArrayOutputStream several = new ByteArrayOutputStream();
    several.writeBytes(question(2, NAME));
    several.writeBytes(question(3, "denied.example"));
    // The one that nobody has to be asked for comes first.
    agent.data(flow, several.toByteArray());
    assertEquals(NXDOMAIN, client.told(flow, 3, "denied.example", A).rcode());
    assertEquals(List.of(SERVER), client.told(flow, 2, NAME, A).addresses());
    for (byte part : question(4, NAME)) {
      agent.data(flow, new byte[] {part});
    }
    assertEquals(List.of(SERVER), client.told(flow, 4, NAME, A).addresses());
    agent.fin(flow);
    agent.await(PlayedAgent.Fin.class, fin -> fin.flow() == flow);
    assertEquals(4, test.network.statistics().dnsQueries());
    assertEquals(0, test.network.statistics().openFlows());
    assertEquals(0, test.network.statistics().opened());
    assertEquals(Map.of(), test.network.statistics().denied());
  }

  @Test
  void anAnswerIsWholeHoweverLong() throws Exception {
    byte[] text = new byte[256];
    text[0] = (byte) 255;
    Entry[] many =
        IntStream.range(0, 64).mapToObj(i -> new Entry(NAME, TXT, 60, text)).toArray(Entry[]::new);
    upstream.answers(
        NAME,
        TXT,
        asked ->
            List.of(
                asked.tcp()
                    ? PlayedNameServer.answer(asked, NOERROR, false, many)
                    : PlayedNameServer.answer(asked, NOERROR, true)));
    assertTrue(client.ask(NAME, TXT).cut());
    int flow = agent.connect("2001:4860:4860::8888", 53);
    agent.data(flow, framed(DnsMessage.question(7, NAME, TXT)));
    Told told = client.told(flow, 7, NAME, TXT);
    assertEquals(64, told.data().size());
    assertTrue(told.size() > 64 * 256);
  }

  @Test
  void whoSaysThatItAsksNoMoreIsAnsweredBefore() throws Exception {
    upstream.has(NAME, SERVER);
    int flow = agent.connect("8.8.8.8", 53);
    agent.data(flow, question(1, NAME));
    agent.fin(flow);
    assertEquals(List.of(SERVER), client.told(flow, 1, NAME, A).addresses());
    agent.await(PlayedAgent.Fin.class, fin -> fin.flow() == flow);
  }

  @Test
  void whoDoesNotTakeAnswersGetsNoCredit() throws Exception {
    agent.takeNothing();
    int flow = agent.open(new Place(AddressClassTest.ip("8.8.8.8"), 53, 40_000), 100);
    agent.await(PlayedAgent.Opened.class, opened -> opened.flow() == flow);
    byte[] question = question(1, "denied.example");
    int count = DnsFlow.WINDOW / question.length;
    byte[] window = new byte[count * question.length];
    for (int i = 0; i < count; i++) {
      System.arraycopy(question, 0, window, i * question.length, question.length);
    }
    // Until its answers fill what there is for them.
    int sent = 0;
    int credit = DnsFlow.WINDOW;
    while (true) {
      int most = Math.min(credit, window.length);
      agent.data(flow, Arrays.copyOfRange(window, 0, most / question.length * question.length));
      sent += most / question.length;
      credit -= most / question.length * question.length;
      // Whatever is answered comes after what was said before it.
      assertEquals(NXDOMAIN, client.ask("denied.example", A).rcode());
      for (PlayedAgent.Message message : agent.received()) {
        if (message instanceof PlayedAgent.Credited) {
          credit += agent.await(PlayedAgent.Credited.class, credited -> true).amount();
        }
      }
      if (credit < question.length) {
        break;
      }
      assertTrue(sent < 10_000, "it takes all");
    }
    assertTrue(test.network.statistics().dnsQueries() < sent, "all were looked at");
    // From here on it reads.
    int bytes = sent * (2 + reply("denied.example").length);
    byte[] all = new byte[bytes];
    int read = 0;
    while (read < bytes) {
      int part = Math.min(100, bytes - read);
      System.arraycopy(agent.bytes(flow, part), 0, all, read, part);
      agent.credit(flow, part);
      read += part;
    }
    assertEquals(NXDOMAIN, all[bytes - reply("denied.example").length + 3] & 0xf);
    agent.fin(flow);
    agent.await(PlayedAgent.Fin.class, fin -> fin.flow() == flow);
  }

  private byte[] reply(String name) {
    Place place = new Place(AddressClassTest.ip("8.8.8.8"), 53, 4711);
    agent.datagram(place, DnsMessage.question(1, name, A));
    return client.reply(place);
  }

  @Test
  void whatIsTooLongToBeAQuestionEndsTheConnection() throws Exception {
    int flow = agent.connect("8.8.8.8", 53);
    agent.data(flow, new byte[] {(byte) 0xff, (byte) 0xff});
    assertEquals(
        Reset.ABORTED, agent.await(PlayedAgent.Resets.class, reset -> reset.flow() == flow).why());
    int other = agent.connect("8.8.8.8", 53);
    agent.data(other, framed(new byte[20]));
    // No question of the form that there is: its number, and FORMERR.
    assertEquals(DnsMessage.FORMERR, client.message(other)[3] & 0xf);
    agent.reset(other, Reset.ABORTED);
    assertEquals(NXDOMAIN, client.ask("denied.example", A).rcode());
    assertEquals(0, test.network.statistics().openFlows());
  }

  @Test
  void thereAreSoManyConnectionsAndNoMore() throws Exception {
    int first = agent.connect("8.8.8.8", 53);
    for (int i = 1; i < 32; i++) {
      agent.connect("8.8.8.8", 53);
    }
    assertEquals(Refusal.LIMIT, agent.refusal("8.8.4.4", 53));
    assertEquals(Limit.FLOWS, test.event(LimitReached.class).limit());
    agent.fin(first);
    agent.await(PlayedAgent.Fin.class, fin -> fin.flow() == first);
    agent.connect("8.8.4.4", 53);
  }

  @Test
  void moreThanAWindowEndsTheLink() throws Exception {
    int flow = agent.connect("8.8.8.8", 53);
    upstream.silent(NAME, A);
    byte[] question = question(1, NAME);
    byte[] many = new byte[DnsFlow.WINDOW];
    for (int i = 0; i + question.length <= many.length; i += question.length) {
      System.arraycopy(question, 0, many, i, question.length);
    }
    for (int i = 0; i < 100; i++) {
      try {
        agent.data(flow, many);
      } catch (UncheckedIOException e) {
        break;
      }
    }
    agent.awaitEnd();
  }

  @Test
  void anotherPolicyLeavesTheConnection() throws Exception {
    upstream.has(NAME, SERVER);
    int flow = agent.connect("8.8.8.8", 53);
    test.update(NetworkPolicy.none());
    agent.data(flow, question(1, NAME));
    assertEquals(NXDOMAIN, client.told(flow, 1, NAME, A).rcode());
    test.update(POLICY);
    agent.data(flow, question(2, NAME));
    assertEquals(List.of(SERVER), client.told(flow, 2, NAME, A).addresses());
  }

  @Test
  void itEndsInTheMidst() throws Exception {
    upstream.silent(NAME, A);
    for (int i = 0; i < 3; i++) {
      int flow = agent.connect("8.8.8.8", 53);
      agent.data(flow, question(1, NAME));
      agent.data(flow, new byte[] {0, 40, 1});
    }
    assertEquals(NXDOMAIN, client.ask("denied.example", A).rcode());
    test.network.close();
    agent.awaitEnd();
    assertEquals(0, test.network.statistics().openFlows());
  }

  @Test
  void whoAsksNothingMoreIsToldTheEndAndThenReset() throws Exception {
    try (PlayedAgent other = new PlayedAgent();
        Publisher publisher = new Publisher(List.of());
        NetworkLoop loop = new NetworkLoop("test-idle")) {
      Surroundings surroundings = TestNetwork.surroundings(true, address -> address);
      CompletableFuture<FlowTable> made = new CompletableFuture<>();
      loop.execute(
          () -> {
            EventSink events = new EventSink("sandbox", event -> {}, Runnable::run);
            Pins pins = new Pins(System::nanoTime, 1);
            FlowTable table =
                new FlowTable(
                    loop,
                    other.connection(),
                    ActivePolicy.of(POLICY, new ServiceAddresses()),
                    publisher,
                    pins,
                    surroundings,
                    events);
            table.begin();
            made.complete(table);
          });
      FlowTable table = made.get();
      other.hello();
      DnsService service =
          new DnsService(
              loop,
              table.link(),
              new Pins(System::nanoTime, 1),
              new Journal(new EventSink("sandbox", event -> {}, Runnable::run), table.link()),
              surroundings,
              ActivePolicy.of(POLICY, new ServiceAddresses()));
      FlowInfo info =
          new FlowInfo(1, Transport.TCP, Direction.OUTBOUND, AddressClassTest.ip("8.8.8.8"), 53, 0);
      loop.execute(
          () -> {
            assertTrue(service.beginStream());
            var unused =
                new DnsFlow(table, service, 1, info, new Credit(0, 1), Duration.ofMillis(20));
          });
      other.await(PlayedAgent.Fin.class, fin -> fin.flow() == 1);
      assertEquals(
          Reset.STALLED, other.await(PlayedAgent.Resets.class, reset -> reset.flow() == 1).why());
      // Nor does it wait for who does not take its answer.
      loop.execute(
          () -> {
            assertTrue(service.beginStream());
            DnsFlow stalled =
                new DnsFlow(table, service, 3, info, new Credit(0, 1), Duration.ofMillis(20));
            try {
              stalled.data(ByteBuffer.wrap(question(1, "denied.example")));
            } catch (FrameException | IOException e) {
              throw new AssertionError(e);
            }
          });
      assertEquals(
          Reset.STALLED, other.await(PlayedAgent.Resets.class, reset -> reset.flow() == 3).why());
      loop.execute(table::close);
      other.awaitEnd();
    }
  }
}
