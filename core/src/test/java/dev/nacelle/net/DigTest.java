// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.AddressClassTest.ip;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.testing.Tool;
import dev.nacelle.internal.check.Ip;
import dev.nacelle.net.DnsMessage.Query;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** Questions as dig writes them, and answers as it reads them. */
@DisabledOnOs(value = OS.WINDOWS, disabledReason = "there is no dig")
class DigTest {
  private static final Path HERE = Path.of("").toAbsolutePath();
  private static final int TIMEOUT_MILLIS = 20_000;
  private static final List<byte[]> TWO = List.of(ip("192.0.2.1").bytes(), ip("192.0.2.2").bytes());

  /** What was asked, and what dig made of the answer. */
  private record Exchange(Query query, String output) {}

  /** One question over UDP. */
  private static Exchange udp(Function<Query, byte[]> answer, String... arguments)
      throws Exception {
    try (DatagramSocket socket = new DatagramSocket(0, InetAddress.getLoopbackAddress())) {
      socket.setSoTimeout(TIMEOUT_MILLIS);
      CompletableFuture<Query> asked =
          CompletableFuture.supplyAsync(
              () -> {
                try {
                  DatagramPacket packet = new DatagramPacket(new byte[4096], 4096);
                  socket.receive(packet);
                  Query query = DnsMessage.query(packet.getData(), packet.getLength());
                  byte[] reply = answer.apply(query);
                  socket.send(new DatagramPacket(reply, reply.length, packet.getSocketAddress()));
                  return query;
                } catch (Exception e) {
                  throw new AssertionError(e);
                }
              });
      String output = dig(socket.getLocalPort(), arguments);
      return new Exchange(asked.get(TIMEOUT_MILLIS, TimeUnit.MILLISECONDS), output);
    }
  }

  /** One question over TCP. */
  private static Exchange tcp(Function<Query, byte[]> answer, String... arguments)
      throws Exception {
    try (ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      server.setSoTimeout(TIMEOUT_MILLIS);
      CompletableFuture<Query> asked =
          CompletableFuture.supplyAsync(
              () -> {
                try (Socket socket = server.accept()) {
                  byte[] message =
                      new byte[new DataInputStream(socket.getInputStream()).readUnsignedShort()];
                  new DataInputStream(socket.getInputStream()).readFully(message);
                  Query query = DnsMessage.query(message, message.length);
                  byte[] reply = answer.apply(query);
                  DataOutputStream out = new DataOutputStream(socket.getOutputStream());
                  out.writeShort(reply.length);
                  out.write(reply);
                  return query;
                } catch (Exception e) {
                  throw new AssertionError(e);
                }
              });
      List<String> all = new ArrayList<>(List.of(arguments));
      all.add("+tcp");
      String output = dig(server.getLocalPort(), all.toArray(new String[0]));
      return new Exchange(asked.get(TIMEOUT_MILLIS, TimeUnit.MILLISECONDS), output);
    }
  }

  private static String dig(int port, String... arguments) {
    List<String> command =
        new ArrayList<>(
            List.of("dig", "@127.0.0.1", "-p", Integer.toString(port), "+tries=1", "+timeout=15"));
    command.addAll(List.of(arguments));
    return Tool.run(HERE, command.toArray(new String[0]));
  }

  @Test
  void addressesAreTold() throws Exception {
    Exchange exchange = udp(query -> query.reply(TWO, 77, query.udpSize()), "a.example", "A");
    assertEquals("a.example", exchange.query.name());
    assertEquals(DnsType.A, exchange.query.type());
    assertEquals(1232, exchange.query.udpSize());
    String output = exchange.output;
    assertTrue(output.contains("status: NOERROR"), output);
    assertTrue(
        output.matches("(?s).*a\\.example\\.\\s+77\\s+IN\\s+A\\s+192\\.0\\.2\\.2.*"), output);
    assertFalse(output.contains("WARNING"), output);
    assertFalse(output.contains("extra bytes"), output);
  }

  @Test
  void aNameThatIsDeniedIsSaidToBe() throws Exception {
    Exchange exchange =
        udp(
            query -> query.reply(DnsMessage.NXDOMAIN, DnsMessage.EDE_BLOCKED, "no rule"),
            "denied.example");
    assertTrue(exchange.output.contains("status: NXDOMAIN"), exchange.output);
    assertTrue(exchange.output.contains("EDE: 15 (Blocked): (no rule)"), exchange.output);
    Exchange failed =
        udp(
            query -> query.reply(DnsMessage.SERVFAIL, DnsMessage.EDE_NETWORK_ERROR, ""),
            "a.example");
    assertTrue(failed.output.contains("status: SERVFAIL"), failed.output);
    assertTrue(failed.output.contains("EDE: 23 (Network Error)"), failed.output);
  }

  @Test
  void withoutEdnsThereIsNone() throws Exception {
    Exchange exchange =
        udp(
            query -> query.reply(DnsMessage.NXDOMAIN, DnsMessage.EDE_BLOCKED, "no"),
            "a.example",
            "+noedns");
    assertEquals(512, exchange.query.udpSize());
    assertFalse(exchange.output.contains("OPT PSEUDOSECTION"), exchange.output);
    assertFalse(exchange.output.contains("WARNING"), exchange.output);
  }

  @Test
  void optionsAreUnderstood() throws Exception {
    Exchange exchange =
        udp(
            query -> query.reply(TWO, 1, query.udpSize()),
            "a.example",
            "AAAA",
            "+dnssec",
            "+nsid",
            "+cookie",
            "+bufsize=600",
            "+cdflag");
    assertEquals(600, exchange.query.udpSize());
    assertEquals(DnsType.AAAA, exchange.query.type());
    Exchange chaos =
        udp(
            query -> query.reply(DnsMessage.REFUSED, DnsMessage.EDE_NONE, ""),
            "version.bind",
            "TXT",
            "-c",
            "CH");
    assertFalse(chaos.query.isInternet());
    Exchange version =
        udp(
            query -> query.reply(DnsMessage.BADVERS, DnsMessage.EDE_NONE, ""),
            "a.example",
            "+edns=7",
            "+noednsnegotiation");
    assertFalse(version.query.hasKnownVersion());
    assertTrue(version.output.contains("status: BADVERS"), version.output);
  }

  @Test
  void whatDoesNotFitComesOverTcp() throws Exception {
    List<byte[]> many =
        IntStream.range(0, 64).mapToObj(i -> Ip.v4(0x0a00_0000 + i).bytes()).toList();
    Exchange cut =
        udp(query -> query.reply(many, 1, query.udpSize()), "a.example", "+noedns", "+ignore");
    assertTrue(cut.output.contains(" tc "), cut.output);
    Exchange whole = tcp(query -> query.reply(many, 1, DnsMessage.MAX_TCP), "a.example");
    assertTrue(whole.output.contains("ANSWER: 64"), whole.output);
  }

  @Test
  void otherRecordsAreReadable() throws Exception {
    byte[] text = new DnsWriter().u8(5).ascii("hello").toByteArray();
    Exchange txt = udp(query -> query.reply(List.of(text), 1, query.udpSize()), "a.example", "TXT");
    assertTrue(txt.output.contains("\"hello\""), txt.output);
    byte[] srv = new DnsWriter().u16(1).u16(2).u16(443).name("b.example").toByteArray();
    Exchange service =
        udp(query -> query.reply(List.of(srv), 1, query.udpSize()), "_x._tcp.a.example", "SRV");
    assertTrue(service.output.contains("1 2 443 b.example."), service.output);
    assertEquals("_x._tcp.a.example", service.query.name());
    Exchange https =
        udp(query -> query.reply(List.of(), 0, query.udpSize()), "a.example", "TYPE65");
    assertEquals(DnsType.HTTPS, https.query.type());
    assertTrue(https.output.contains("ANSWER: 0"), https.output);
  }
}
