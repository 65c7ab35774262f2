// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.nacelle.internal.check.DomainNames;
import dev.nacelle.net.ClientHello.State;
import dev.nacelle.net.HttpHead.Step;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * However a client's bytes are cut, the same comes of them: a name, or that there is none. See
 * {@link dev.nacelle.image.testing.FuzzedImages} for how to fuzz.
 */
class StreamFuzzTest {
  static Stream<byte[]> hellos() throws Exception {
    return Stream.of(
        ClientHelloTest.java("a.example", "TLSv1.2"),
        ClientHelloTest.java("a.example", "TLSv1.3"),
        ClientHelloTest.java("", "TLSv1.3"));
  }

  @MethodSource("hellos")
  @FuzzTest(maxDuration = "5m")
  void aClientHelloIsReadOrRefused(byte[] bytes) {
    read(bytes, ClientHello::new);
    ClientHello second = read(bytes, ClientHello::second);
    if (second.feed(ByteBuffer.allocate(0)) == State.DONE && bytes[0] == 22) {
      ClientHello first = read(bytes, ClientHello::new);
      if (!Objects.equals(first.serverName(), second.serverName())) {
        throw new AssertionError("another name when it is the second");
      }
    }
    ClientHello.Answer whole = new ClientHello.Answer();
    ClientHello.Answer slow = new ClientHello.Answer();
    for (int i = 0; i < bytes.length; i++) {
      slow.feed(ByteBuffer.wrap(bytes, i, 1));
    }
    if (whole.feed(ByteBuffer.wrap(bytes)) != slow.feed(ByteBuffer.allocate(0))) {
      throw new AssertionError("another answer in pieces");
    }
  }

  private static ClientHello read(byte[] bytes, Supplier<ClientHello> made) {
    ClientHello whole = made.get();
    State state = whole.feed(ByteBuffer.wrap(bytes));
    ClientHello slow = made.get();
    for (byte octet : bytes) {
      slow.feed(ByteBuffer.wrap(new byte[] {octet}));
    }
    if (state != slow.feed(ByteBuffer.allocate(0))
        || !Objects.equals(whole.serverName(), slow.serverName())
        || whole.mayHideName() != slow.mayHideName()
        || !whole.fault().equals(slow.fault())) {
      throw new AssertionError("another in pieces: " + slow.fault() + ", " + whole.fault());
    }
    String name = whole.serverName();
    if (name != null && (state != State.DONE || !name.equals(DomainNames.canonical(name)))) {
      throw new AssertionError("a name: " + name);
    }
    if (state == State.MORE && bytes.length > ClientHello.MAX_BYTES && bytes[0] == 22) {
      throw new AssertionError("waits for more than there may be");
    }
    return whole;
  }

  static Stream<byte[]> requests() {
    return Stream.of(
            "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc"
                + "GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nb: c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n\r\nx",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .map(HttpHeadTest::bytes);
  }

  /** What is passed on is the same, too: a server gets no byte that was not looked at. */
  @MethodSource("requests")
  @FuzzTest(maxDuration = "5m")
  void requestsAreReadOrRefused(byte[] bytes) {
    List<String> whole = read(bytes, Math.max(1, bytes.length));
    List<String> slow = read(bytes, 1);
    if (!whole.equals(slow)) {
      throw new AssertionError("another in pieces: " + slow + ", " + whole);
    }
    HttpHead.Status status = new HttpHead.Status();
    int once = new HttpHead.Status().feed(ByteBuffer.wrap(bytes));
    int found = 0;
    for (int i = 0; i < bytes.length && found == 0; i++) {
      found = status.feed(ByteBuffer.wrap(bytes, i, 1));
    }
    if (once != found) {
      throw new AssertionError("another status in pieces: " + found + ", " + once);
    }
  }

  /** Hosts, what was passed on at most, and the end. */
  private static List<String> read(byte[] bytes, int piece) {
    HttpHead http = new HttpHead();
    List<String> told = new ArrayList<>();
    int passed = 0;
    for (int at = 0; at < bytes.length; at += piece) {
      ByteBuffer in = ByteBuffer.wrap(bytes, at, Math.min(piece, bytes.length - at));
      boolean goesOn = true;
      while (in.hasRemaining() && goesOn) {
        int before = in.position();
        Step step = http.next(in);
        switch (step) {
          case HEAD -> {
            told.add(String.valueOf(http.host()));
            passed = in.position();
          }
          case BODY -> passed = in.position();
          case MORE -> goesOn = false;
          case HOLD -> http.answered(200);
          case REFUSED -> {
            told.add(http.fault() + ", passed " + passed);
            return told;
          }
        }
        if (step != Step.HOLD && in.position() == before) {
          throw new AssertionError("takes nothing: " + step);
        }
      }
    }
    told.add("passed " + passed);
    return told;
  }
}
