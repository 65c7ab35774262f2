// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.testing.Tool;
import dev.nacelle.net.ClientHello.Answer;
import dev.nacelle.net.ClientHello.State;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLParameters;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ClientHelloTest {
  private static final int TIMEOUT_MILLIS = 20_000;
  private static final Pattern LISTENS = Pattern.compile("ACCEPT 127.0.0.1:([0-9]+)\n");

  /** As Java's own client writes it. */
  static byte[] java(String name, String version) throws Exception {
    SSLEngine engine = SSLContext.getDefault().createSSLEngine();
    engine.setUseClientMode(true);
    SSLParameters parameters = engine.getSSLParameters();
    parameters.setProtocols(new String[] {version});
    if (!name.isEmpty()) {
      parameters.setServerNames(List.of(new SNIHostName(name)));
    }
    engine.setSSLParameters(parameters);
    ByteBuffer out = ByteBuffer.allocate(engine.getSession().getPacketBufferSize());
    engine.wrap(ByteBuffer.allocate(0), out);
    return Arrays.copyOf(out.array(), out.position());
  }

  /** As openssl s_client writes it. */
  private static byte[] openssl(String... arguments) throws Exception {
    try (ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      server.setSoTimeout(TIMEOUT_MILLIS);
      CompletableFuture<byte[]> hello =
          CompletableFuture.supplyAsync(
              () -> {
                try (Socket socket = server.accept()) {
                  return record(socket.getInputStream());
                } catch (Exception e) {
                  throw new AssertionError(e);
                }
              });
      Tool.script(
          Path.of("").toAbsolutePath(),
          "openssl s_client -connect 127.0.0.1:"
              + server.getLocalPort()
              + " "
              + String.join(" ", arguments)
              + " </dev/null || true");
      return hello.get(TIMEOUT_MILLIS, TimeUnit.MILLISECONDS);
    }
  }

  /** A message by hand: without extensions, or with these. */
  private static byte[] message(byte[]... extensions) {
    DnsWriter body = new DnsWriter().u16(0x0303).bytes(new byte[32]);
    body.u8(0).u16(2).u16(0x1301).u8(1).u8(0);
    if (extensions.length > 0) {
      body.u16(Arrays.stream(extensions).mapToInt(extension -> extension.length).sum());
      for (byte[] extension : extensions) {
        body.bytes(extension);
      }
    }
    byte[] bytes = body.toByteArray();
    return new DnsWriter().u8(1).u8(0).u16(bytes.length).bytes(bytes).toByteArray();
  }

  private static byte[] extension(int type, byte[] data) {
    return new DnsWriter().u16(type).u16(data.length).bytes(data).toByteArray();
  }

  private static byte[] serverName(String name) {
    byte[] bytes = name.getBytes(StandardCharsets.ISO_8859_1);
    DnsWriter names = new DnsWriter().u16(bytes.length + 3).u8(0).u16(bytes.length).bytes(bytes);
    return extension(0, names.toByteArray());
  }

  private static byte[] records(byte[] message, int size) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (int at = 0; at < message.length; at += size) {
      int length = Math.min(size, message.length - at);
      out.writeBytes(new byte[] {22, 3, 1, (byte) (length >> 8), (byte) length});
      out.write(message, at, length);
    }
    return out.toByteArray();
  }

  private static ClientHello read(byte[] bytes) {
    ClientHello hello = new ClientHello();
    hello.feed(ByteBuffer.wrap(bytes));
    return hello;
  }

  private static void assertRefused(String words, byte[] bytes) {
    ClientHello hello = new ClientHello();
    assertEquals(State.REFUSED, hello.feed(ByteBuffer.wrap(bytes)), words);
    assertTrue(hello.fault().contains(words), hello.fault());
    assertNull(hello.serverName());
    assertEquals(State.REFUSED, hello.feed(ByteBuffer.wrap(bytes)), "for ever");
  }

  /** Whole, in two pieces at every byte, byte by byte, and in records of every size. */
  private static void assertReadHoweverItIsCut(String expected, byte[] bytes) {
    for (int cut = 0; cut <= bytes.length; cut++) {
      ClientHello hello = new ClientHello();
      State before = hello.feed(ByteBuffer.wrap(bytes, 0, cut));
      assertEquals(cut == bytes.length ? State.DONE : State.MORE, before);
      assertEquals(State.DONE, hello.feed(ByteBuffer.wrap(bytes, cut, bytes.length - cut)));
      assertEquals(expected, hello.serverName(), "cut at " + cut);
    }
    ClientHello slow = new ClientHello();
    for (byte octet : bytes) {
      assertEquals(State.MORE, slow.feed(ByteBuffer.allocate(0)));
      slow.feed(ByteBuffer.wrap(new byte[] {octet}));
    }
    assertEquals(expected, slow.serverName());
    byte[] message = Arrays.copyOfRange(bytes, 5, bytes.length);
    for (int size = 1; size <= message.length; size++) {
      assertEquals(expected, read(records(message, size)).serverName(), "records of " + size);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"TLSv1.2", "TLSv1.3"})
  void asJavaWritesIt(String version) throws Exception {
    assertReadHoweverItIsCut("a.example", java("A.Example", version));
    ClientHello none = read(java("", version));
    assertNull(none.serverName());
    assertEquals("", none.fault());
    assertFalse(none.mayHideName());
  }

  @ParameterizedTest
  @CsvSource({
    "-servername b.example, b.example",
    "-servername b.example -tls1_2, b.example",
    "-servername b.example -alpn h2, b.example",
    "-noservername,",
    "-servername 192.0.2.1,"
  })
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "there is no openssl")
  void asOpensslWritesIt(String arguments, String expected) throws Exception {
    assertReadHoweverItIsCut(expected, openssl(arguments));
  }

  @Test
  void whatIsNoHostsNameIsNone() {
    for (String name : List.of("192.0.2.1", "a b", "a\0b", "b\u00fccher.example", "a..b")) {
      ClientHello hello = read(records(message(serverName(name)), 1000));
      assertEquals("", hello.fault());
      assertNull(hello.serverName(), name);
    }
    assertEquals("a.example", read(records(message(serverName("A.EXAMPLE")), 99)).serverName());
    assertNull(read(records(message(), 1000)).serverName());
  }

  @Test
  void anEncryptedHelloMayHideAnotherName() {
    for (int type : new int[] {0xfe0d, 0xfe08, 0xffce}) {
      byte[] hidden = message(extension(type, new byte[100]), serverName("outer.example"));
      ClientHello hello = read(records(hidden, 1000));
      assertEquals("outer.example", hello.serverName());
      assertTrue(hello.mayHideName());
    }
    byte[] other = message(extension(0xfe0e, new byte[100]), serverName("a.example"));
    assertFalse(read(records(other, 1000)).mayHideName());
  }

  @Test
  void whatIsNoClientHelloIsRefusedAtOnce() {
    assertRefused("not a TLS handshake", "GET / HTTP/1.1\r\n".getBytes(StandardCharsets.US_ASCII));
    assertRefused("not a TLS handshake", new byte[] {21});
    assertRefused("not a TLS handshake", new byte[] {22, 2});
    assertRefused("not a TLS handshake", new byte[] {(byte) 0x80, 0x2e, 1, 3, 1});
    assertRefused("a TLS record of 0 bytes", new byte[] {22, 3, 1, 0, 0});
    assertRefused("a TLS record of 16385 bytes", new byte[] {22, 3, 1, 0x40, 1});
    assertRefused("not a ClientHello", records(new byte[] {2, 0, 0, 1, 0}, 5));
    assertRefused("not a ClientHello", records(new byte[] {1, 0, 0, 0, 0}, 5));
  }

  @Test
  void aHelloIsWithinItsBound() {
    assertRefused("more than 16384 bytes", records(new byte[] {1, -1, -1, -1}, 4));
    byte[] large = message(serverName("a.example"), extension(21, new byte[16_000]));
    assertEquals("a.example", read(records(large, 1 << 14)).serverName());
    byte[] inSmallRecords = records(large, 1);
    assertRefused("more than 16384 bytes", inSmallRecords);
    ClientHello endless = new ClientHello();
    byte[] many = records(new byte[20_000], 10_000);
    many[5] = 1;
    many[7] = 0x3f;
    assertEquals(State.REFUSED, endless.feed(ByteBuffer.wrap(many)));
  }

  @Test
  void whatTwoServersCouldReadDifferentlyIsRefused() {
    byte[] name = serverName("a.example");
    assertRefused("malformed extensions", records(message(name, name), 1000));
    byte[] two = {0, 8, 0, 0, 1, 'a', 0, 0, 1, 'b'};
    assertRefused("malformed extensions", records(message(extension(0, two)), 1000));
    byte[] other = {0, 4, 1, 0, 1, 'a'};
    assertRefused("malformed extensions", records(message(extension(0, other)), 1000));
    byte[] empty = {0, 3, 0, 0, 0};
    assertRefused("malformed extensions", records(message(extension(0, empty)), 1000));
    assertRefused("malformed extensions", records(message(extension(0, new byte[0])), 1000));
    byte[] behind = {0, 4, 0, 0, 1, 'a', 0};
    assertRefused("malformed extensions", records(message(extension(0, behind)), 1000));
    byte[] good = message(name);
    byte[] longer = Arrays.copyOf(good, good.length + 1);
    assertRefused("more than a ClientHello", records(longer, 1000));
    longer[3]++;
    assertRefused("malformed extensions", records(longer, 1000));
    byte[] session = message(name);
    session[38] = 33;
    assertRefused("malformed", records(session, 1000));
    byte[] suites = message(name);
    suites[40] = 1;
    assertRefused("malformed", records(suites, 1000));
  }

  @Test
  void whatIsBehindTheMessageIsLeft() {
    byte[] bytes = records(message(serverName("a.example")), 1000);
    ByteBuffer in = ByteBuffer.allocate(bytes.length + 7);
    in.put(bytes).position(0);
    assertEquals(State.DONE, new ClientHello().feed(in));
    assertEquals(7, in.remaining());
  }

  private static Answer.Next answer(byte[] sent, int piece) {
    Answer answer = new Answer();
    Answer.Next next = Answer.Next.MORE;
    for (int at = 0; at < sent.length; at += piece) {
      next = answer.feed(ByteBuffer.wrap(sent, at, Math.min(piece, sent.length - at)));
    }
    return next;
  }

  private static byte[] serverHello(byte[] random) {
    DnsWriter hello = new DnsWriter().u8(2).u8(0).u16(40).u16(0x0303).bytes(random);
    return hello.u8(0).u16(0x1301).u8(0).u16(0).toByteArray();
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 7, 38, 1000})
  void aServerMayAskForASecond(int size) throws Exception {
    byte[] retry =
        MessageDigest.getInstance("SHA-256")
            .digest("HelloRetryRequest".getBytes(StandardCharsets.US_ASCII));
    for (int piece : new int[] {1, 2, 1000}) {
      assertEquals(Answer.Next.SECOND, answer(records(serverHello(retry), size), piece));
      assertEquals(Answer.Next.PASS, answer(records(serverHello(new byte[32]), size), piece));
      assertEquals(Answer.Next.PASS, answer(new byte[] {21, 3, 3, 0, 2, 2, 40}, piece));
      assertEquals(Answer.Next.PASS, answer(new byte[] {22, 3, 3, 0, 2, 1, 0}, piece));
      assertEquals(Answer.Next.MORE, answer(new byte[] {22, 3, 3, 0, 2, 2, 0}, piece));
    }
  }

  @Test
  void aSecondHelloIsFoundBehindWhatMayStandBeforeIt() {
    byte[] name = records(message(serverName("b.example")), 50);
    DnsWriter sent = new DnsWriter().bytes(new byte[] {20, 3, 3, 0, 1, 1});
    for (int i = 0; i < 3; i++) {
      sent.bytes(new byte[] {23, 3, 3, 0x40, 0}).bytes(new byte[1 << 14]);
    }
    byte[] all = sent.bytes(name).toByteArray();
    for (int piece : new int[] {1, 3, 1000, all.length}) {
      ClientHello second = ClientHello.second();
      for (int at = 0; at < all.length; at += piece) {
        second.feed(ByteBuffer.wrap(all, at, Math.min(piece, all.length - at)));
      }
      assertEquals("b.example", second.serverName());
    }
    assertRefused("not a TLS handshake", all);
    ClientHello between = ClientHello.second();
    byte[] cut = Arrays.copyOf(name, 55 + 6);
    System.arraycopy(new byte[] {20, 3, 3, 0, 1, 1}, 0, cut, 55, 6);
    assertEquals(State.REFUSED, between.feed(ByteBuffer.wrap(cut)));
  }

  /** A real server that asks, between which and a real client a test listens. */
  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "there is no openssl")
  void opensslAsksForASecond(@TempDir Path directory) throws Exception {
    Tool.script(
        directory,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=a"
            + " -keyout key -out certificate 2>&1");
    try (ServerSocket front = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      front.setSoTimeout(TIMEOUT_MILLIS);
      Path said = directory.resolve("said");
      CompletableFuture<byte[][]> heard =
          CompletableFuture.supplyAsync(
              () -> {
                try (Socket client = front.accept();
                    Socket server = connect(said)) {
                  byte[] first = record(client.getInputStream());
                  server.getOutputStream().write(first);
                  byte[] answer = record(server.getInputStream());
                  client.getOutputStream().write(answer);
                  byte[] change = record(client.getInputStream());
                  byte[] second = record(client.getInputStream());
                  return new byte[][] {first, answer, change, second};
                } catch (Exception e) {
                  throw new AssertionError(e);
                }
              });
      Tool.script(
          directory,
          "timeout 30 openssl s_server -accept 127.0.0.1:0"
              + " -key key -cert certificate -groups P-384 -www -naccept 1 >said 2>&1 &"
              + " openssl s_client -connect 127.0.0.1:"
              + front.getLocalPort()
              + " -groups X25519:P-384 -servername b.example </dev/null || true; wait");
      byte[][] records = heard.get(TIMEOUT_MILLIS, TimeUnit.MILLISECONDS);
      assertEquals("b.example", read(records[0]).serverName());
      assertEquals(Answer.Next.SECOND, answer(records[1], 1000));
      ClientHello second = ClientHello.second();
      assertEquals(State.MORE, second.feed(ByteBuffer.wrap(records[2])));
      assertEquals(State.DONE, second.feed(ByteBuffer.wrap(records[3])));
      assertEquals("b.example", second.serverName());
    }
  }

  /** When the server has said where it listens. */
  private static Socket connect(Path said) throws Exception {
    for (int attempt = 0; ; attempt++) {
      String text = Files.exists(said) ? Files.readString(said) : "";
      Matcher matcher = LISTENS.matcher(text);
      if (matcher.find()) {
        int port = Integer.parseInt(matcher.group(1));
        Socket socket = new Socket(InetAddress.getLoopbackAddress(), port);
        socket.setSoTimeout(TIMEOUT_MILLIS);
        return socket;
      }
      if (attempt == 400) {
        throw new AssertionError("it does not listen: " + text);
      }
      Thread.sleep(50);
    }
  }

  private static byte[] record(InputStream in) throws Exception {
    byte[] header = in.readNBytes(5);
    int length = (header[3] & 0xff) << 8 | header[4] & 0xff;
    byte[] record = Arrays.copyOf(header, 5 + length);
    in.readNBytes(record, 5, length);
    return record;
  }
}
