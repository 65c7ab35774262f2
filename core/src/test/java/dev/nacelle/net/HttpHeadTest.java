// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.net.HttpHead.Step;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class HttpHeadTest {
  private static final String HOST = "Host: a.example\r\n";

  static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.ISO_8859_1);
  }

  /**
   * What comes of a connection: hosts in their order, and at last the fault where there is one.
   * What is passed on is every byte, in its order, up to a fault.
   */
  static List<String> read(byte[] sent, int piece) {
    HttpHead http = new HttpHead();
    List<String> told = new ArrayList<>();
    int passed = 0;
    for (int at = 0; at < sent.length; at += piece) {
      ByteBuffer in = ByteBuffer.wrap(sent, at, Math.min(piece, sent.length - at));
      while (in.hasRemaining()) {
        int before = in.position();
        Step step = http.next(in);
        switch (step) {
          case HEAD -> {
            told.add(String.valueOf(http.host()));
            passed = in.position();
          }
          case BODY -> passed = in.position();
          case MORE -> assertEquals(0, in.remaining());
          case HOLD -> {
            told.add("holds at " + before);
            return told;
          }
          case REFUSED -> {
            told.add(http.fault());
            assertNull(http.host());
            assertTrue(passed <= before);
            return told;
          }
        }
      }
    }
    told.add("passed " + passed);
    return told;
  }

  private static void assertHosts(String sent, String... hosts) {
    List<String> expected = new ArrayList<>(List.of(hosts));
    expected.add("passed " + sent.length());
    for (int piece = 1; piece <= sent.length(); piece++) {
      assertEquals(expected, read(bytes(sent), piece), "in pieces of " + piece);
    }
  }

  private static void assertRefused(String fault, String sent) {
    for (int piece = 1; piece <= Math.min(sent.length(), 100); piece++) {
      List<String> told = read(bytes(sent), piece);
      String last = told.get(told.size() - 1);
      assertTrue(last.contains(fault), () -> last + " for " + sent);
    }
  }

  private static String get(String fields) {
    return "GET /x HTTP/1.1\r\n" + fields + "\r\n";
  }

  @Test
  void theHostOfEveryRequestIsTold() {
    assertHosts(get(HOST), "a.example");
    assertHosts(
        get("host:\t A.Example:80 \r\nX: y\r\n")
            + "POST / HTTP/1.1\r\nHost: b.example\r\nContent-Length: 5\r\n\r\nGET /"
            + "GET / HTTP/1.1\r\nHost: c.example.\r\n\r\n"
            + "PUT / HTTP/1.1\r\nHost: d.example\r\nTransfer-Encoding: Chunked\r\n\r\n"
            + "5\r\nGET /\r\n00a\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
            + "PUT / HTTP/1.1\r\nHost: e.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            + "OPTIONS * HTTP/1.1\r\nHost: f.example\r\nContent-Length: 0\r\n\r\n"
            + "GET http://G.example:80/x?y HTTP/1.1\r\nHost: g.example:80\r\n\r\n"
            + "GET / HTTP/1.0\r\nHost: h.example\r\n\r\n",
        "a.example",
        "b.example",
        "c.example",
        "d.example",
        "e.example",
        "f.example",
        "g.example",
        "h.example");
  }

  @Test
  void whatIsNoHostsNameIsNone() {
    for (String host :
        List.of("192.0.2.1", "[2001:db8::1]:80", "a b", "", "u@a.example", "a.example:8x", "a,b")) {
      assertHosts(get("Host: " + host + "\r\n"), "null");
    }
    assertHosts(get(""), "null");
    assertHosts("GET / HTTP/1.0\r\n\r\n", "null");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: \u000bchunked\r\n"
      })
  void aContentWhoseEndIsNotClearIsRefused(String fields) {
    assertRefused(fields.indexOf('\u000b') > 0 ? "control" : "not clear", get(HOST + fields));
  }

  @Test
  void whatServersReadDifferentlyIsRefused() {
    assertRefused("twice", get(HOST + "Host: b.example\r\n"));
    assertRefused("Expect", get(HOST + "Content-Length: 1\r\nExpect: 100-continue\r\n"));
    assertHosts(get(HOST + "Expect: 100-continue\r\n"), "a.example");
    assertRefused("twice", get(HOST + "Content-Length: 1\r\nContent-Length: 1\r\n"));
    assertRefused("twice", get(HOST + "Transfer-Encoding: chunked\r\ntransfer-encoding: x\r\n"));
    for (String length : List.of("1, 1", "+1", "-1", "0x1", "", "1 1", "9".repeat(19))) {
      assertRefused("no number", get(HOST + "Content-Length: " + length + "\r\n"));
    }
    assertRefused("malformed or folded", get(HOST + "X: y\r\n z\r\n"));
    assertRefused("malformed or folded", get("Host : a.example\r\n"));
    assertRefused("malformed or folded", get(HOST + ": y\r\n"));
    assertRefused("malformed or folded", get(HOST + "y\r\n"));
    assertRefused("does not end in CR LF", "GET / HTTP/1.1\nHost: a.example\n\n");
    assertRefused("does not end in CR LF", get(HOST + "X: a\rb\r\n"));
    assertRefused("does not end in CR LF", get(HOST + "X: a\nHost: b.example\r\n"));
    assertRefused("control character", get(HOST + "X: a\0\r\n"));
    assertRefused("not clear", "GET / HTTP/1.0\r\n" + HOST + "Transfer-Encoding: chunked\r\n\r\n");
    assertRefused("another host", "GET http://b.example/ HTTP/1.1\r\n" + HOST + "\r\n");
    assertRefused("another host", "GET http://a.example@b.example/ HTTP/1.1\r\n" + HOST + "\r\n");
    assertRefused("another host", "GET http://a.example/ HTTP/1.1\r\n\r\n");
    assertRefused("neither a path nor", "GET https://a.example/ HTTP/1.1\r\n" + HOST + "\r\n");
    assertRefused("neither a path nor", "GET a.example HTTP/1.1\r\n" + HOST + "\r\n");
    assertRefused("neither a path nor", "GET * HTTP/1.1\r\n" + HOST + "\r\n");
  }

  @Test
  void whatIsNoRequestOfHttp11IsRefused() {
    assertRefused("CONNECT", "CONNECT b.example:443 HTTP/1.1\r\n" + HOST + "\r\n");
    assertRefused("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assertRefused("other than 1.0 and 1.1", "GET / HTTP/1.2\r\n" + HOST + "\r\n");
    assertRefused("other than 1.0 and 1.1", "GET / http/1.1\r\n" + HOST + "\r\n");
    assertRefused("malformed request line", "GET /\r\n\r\n");
    assertRefused("malformed request line", "GET  / HTTP/1.1\r\n" + HOST + "\r\n");
    assertRefused("malformed request line", "GET / HTTP/1.1 \r\n" + HOST + "\r\n");
    assertRefused("malformed request line", "G(T / HTTP/1.1\r\n" + HOST + "\r\n");
    assertRefused("not a request", "\u0016\u0003\u0001");
    assertRefused("not a request", "\r\nGET / HTTP/1.1\r\n" + HOST + "\r\n");
    assertRefused("not a request", get(HOST) + "\r\n" + get(HOST));
    assertRefused("more than 16384", get(HOST + "X: " + "y".repeat(17_000) + "\r\n"));
  }

  @Test
  void chunksAreAsTheyShouldBe() {
    String head = get(HOST + "Transfer-Encoding: chunked\r\n");
    for (String chunks :
        List.of(
            "\r\n",
            "x\r\n",
            "5;a=b\r\n",
            "5 \r\n",
            " 5\r\n",
            "-5\r\n",
            "0x5\r\n",
            "5\n",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1\r\na\r\r",
            "f".repeat(16) + "\r\n",
            "5\r\r",
            "\u00b95\r\n")) {
      assertRefused("malformed chunk", head + chunks);
    }
    assertRefused("trailer", head + "0\r\nx\r\n\r\n");
    assertRefused("trailer", head + "0\r\nHost: b.example\r\n\r\n");
    assertRefused("trailer", head + "0\r\nX: y\r\n z\r\n\r\n");
    assertRefused("more than 16384", head + "0\r\nX: " + "y".repeat(17_000));
  }

  @Test
  void whatIsPassedOnIsWhatWasLookedAt() {
    HttpHead http = new HttpHead();
    byte[] sent = bytes(get(HOST + "Transfer-Encoding: chunked\r\n") + "5\r\nhello\nGET /");
    ByteBuffer in = ByteBuffer.wrap(sent);
    assertEquals(Step.HEAD, http.next(in));
    assertEquals(Step.BODY, http.next(in));
    assertEquals('\n', sent[in.position()]);
    assertEquals(Step.REFUSED, http.next(in));
    assertEquals(Step.REFUSED, http.next(ByteBuffer.wrap(bytes(get(HOST)))));
  }

  private static HttpHead upgrade(String protocol) {
    HttpHead http = new HttpHead();
    ByteBuffer in =
        ByteBuffer.wrap(
            bytes(get(HOST + "Connection: upgrade\r\nUpgrade: " + protocol + "\r\n") + get(HOST)));
    assertEquals(Step.HEAD, http.next(in));
    assertTrue(http.isSwitching());
    assertEquals(Step.HOLD, http.next(in));
    assertEquals(get(HOST).length(), in.remaining());
    return http;
  }

  @Test
  void aSwitchWaitsForTheServersAnswer() {
    HttpHead agreed = upgrade("WebSocket");
    assertEquals(Step.MORE, agreed.answered(101));
    ByteBuffer frames = ByteBuffer.wrap(new byte[] {1, 2, 3});
    assertEquals(Step.BODY, agreed.next(frames));
    assertEquals(0, frames.remaining());
    HttpHead declined = upgrade("h2c");
    assertEquals(Step.MORE, declined.answered(200));
    assertEquals(Step.HEAD, declined.next(ByteBuffer.wrap(bytes(get("Host: b.example\r\n")))));
    assertEquals("b.example", declined.host());
    HttpHead blind = upgrade("h2c");
    assertEquals(Step.REFUSED, blind.answered(101));
    assertTrue(blind.fault().contains("other than WebSocket"));
    assertThrows(IllegalStateException.class, () -> new HttpHead().answered(101));
  }

  @Test
  void aSwitchIsAskedForFirstOrNotAtAll() {
    assertRefused("switch", get(HOST) + get(HOST + "Upgrade: websocket\r\n"));
    assertRefused("switch", get(HOST + "Upgrade: websocket\r\nContent-Length: 1\r\n"));
    assertRefused("switch", get(HOST + "Upgrade: x\r\nTransfer-Encoding: chunked\r\n"));
  }

  private static int status(String answer, int piece) {
    HttpHead.Status status = new HttpHead.Status();
    byte[] bytes = bytes(answer);
    for (int at = 0; at < bytes.length; at += piece) {
      int found = status.feed(ByteBuffer.wrap(bytes, at, Math.min(piece, bytes.length - at)));
      if (found != 0) {
        return found;
      }
    }
    return 0;
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 5, 1000})
  void theFirstAnswerThatIsNotInterimCounts(int piece) {
    assertEquals(200, status("HTTP/1.1 200 OK\r\n", piece));
    assertEquals(101, status("HTTP/1.1 101 Switching Protocols\r\n", piece));
    assertEquals(
        404, status("HTTP/1.1 100 \r\n\r\nHTTP/1.1 103 x\r\nL: y\r\n\r\nHTTP/1.0 404", piece));
    assertEquals(0, status("HTTP/1.1 100 \r\n\r\nHTTP/1.1", piece));
    assertEquals(-1, status("HTTP/2.0 101 x\r\n", piece));
    assertEquals(-1, status("SSH-2.0-OpenSSH_9.2", piece));
    assertEquals(-1, status("HTTP/1.1 100 " + "x".repeat(20_000), piece));
  }
}
