// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Semaphore;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The log of the host's process is not the guest's to write to. */
@ExtendWith(NettyLeaks.class)
class HostLogTest {
  private static final Logger ROOT = Logger.getLogger("");

  private static final int DATA = 0;
  private static final int HEADERS = 1;
  private static final int RST_STREAM = 3;
  private static final int SETTINGS = 4;
  private static final int PUSH_PROMISE = 5;
  private static final int PING = 6;
  private static final int GOAWAY = 7;
  private static final int WINDOW_UPDATE = 8;
  private static final int CONTINUATION = 9;
  private static final int END_HEADERS = 4;

  /** Of the first call. */
  private static final int STREAM = 3;

  /** Threads of what was before, which may still have something to say. */
  private final Set<Thread> others = Thread.getAllStackTraces().keySet();

  private final List<String> logged = new CopyOnWriteArrayList<>();
  private final Handler handler =
      new Handler() {
        @Override
        public void publish(LogRecord told) {
          if (told.getLevel().intValue() >= Level.INFO.intValue()
              && !others.contains(Thread.currentThread())) {
            logged.add(told.getLoggerName() + ": " + told.getMessage() + ": " + told.getThrown());
          }
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
      };

  @BeforeEach
  void listen() {
    others.remove(Thread.currentThread());
    ROOT.addHandler(handler);
  }

  @AfterEach
  void stopListening() {
    ROOT.removeHandler(handler);
  }

  /** RFC 9113 section 4.1. */
  private static byte[] frame(int type, int flags, int stream, int... payload) {
    ByteBuffer frame = ByteBuffer.allocate(9 + payload.length);
    frame.putInt(payload.length << 8 | type).put((byte) flags).putInt(stream);
    for (int octet : payload) {
      frame.put((byte) octet);
    }
    return frame.array();
  }

  private static byte[] join(byte[]... parts) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      all.writeBytes(part);
    }
    return all.toByteArray();
  }

  private static byte[] times(int count, byte[] part) {
    return join(Stream.generate(() -> part).limit(count).toArray(byte[][]::new));
  }

  private static byte[] noise() {
    byte[] noise = new byte[4096];
    new Random(12).nextBytes(noise);
    return noise;
  }

  static Stream<Map.Entry<String, byte[]>> openings() {
    byte[] settings = frame(SETTINGS, 0, 0);
    return Map.ofEntries(
        Map.entry("nothing", new byte[0]),
        Map.entry("noise", noise()),
        Map.entry("HTTP/1.1", "HTTP/1.1 400 Bad Request\r\n\r\n".getBytes(StandardCharsets.UTF_8)),
        Map.entry("noise after SETTINGS", join(settings, noise())),
        Map.entry("no SETTINGS first", frame(PING, 0, 0, new int[8])),
        Map.entry("bad SETTINGS", frame(SETTINGS, 0, 0, 0, 2, 0, 0, 0, 9)),
        Map.entry("SETTINGS of odd length", frame(SETTINGS, 0, 0, 1, 2, 3)),
        Map.entry("SETTINGS without end", times(2000, settings)))
        .entrySet()
        .stream();
  }

  static Stream<Map.Entry<String, byte[]>> answers() {
    // ":status: 200" and ":status: 500" are 8 and 14 of HPACK's static table (RFC 7541),
    // "content-type" is 31.
    byte[] bare = frame(HEADERS, END_HEADERS, STREAM, 0x88);
    ByteBuffer grpc = ByteBuffer.allocate(19).put(new byte[] {(byte) 0x88, 0x5f, 16});
    grpc.put("application/grpc".getBytes(StandardCharsets.UTF_8));
    int[] headers = new String(grpc.array(), StandardCharsets.ISO_8859_1).chars().toArray();
    byte[] ok = frame(HEADERS, END_HEADERS, STREAM, headers);
    byte[] ping = frame(PING, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8);
    byte[] goAway = frame(GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 'w', 'h', 'y');
    int[] calm = "\0\0\0\0\0\0\0\13too_many_pings".chars().toArray();
    byte[] tooManyPings = frame(GOAWAY, 0, 0, calm);
    return Map.ofEntries(
        Map.entry("half a frame", new byte[] {0, 1, 0, 0}),
        Map.entry("frame too large", new byte[] {-1, -1, -1, 0, 0, 0, 0, 0, 3}),
        Map.entry("window of all", frame(SETTINGS, 0, 0, 0, 4, -1, -1, -1, -1)),
        Map.entry("no headers allowed", frame(SETTINGS, 0, 0, 0, 6, 0, 0, 0, 0)),
        Map.entry("no stream allowed", frame(SETTINGS, 0, 0, 0, 3, 0, 0, 0, 0)),
        Map.entry("PING of odd length", frame(PING, 0, 0, 1)),
        Map.entry("PING of a stream", frame(PING, 0, STREAM, new int[8])),
        Map.entry("unknown PING answered", times(50, frame(PING, 1, 0, new int[8]))),
        Map.entry("PINGs", times(2000, ping)),
        Map.entry("unknown frames", times(60_000, frame(77, 0, 0))),
        Map.entry("window updates", times(60_000, frame(WINDOW_UPDATE, 0, 0, 0, 0, 0, 1))),
        Map.entry("window update of 0", frame(WINDOW_UPDATE, 0, 0, 0, 0, 0, 0)),
        Map.entry("window overflow", times(3, frame(WINDOW_UPDATE, 0, 0, 0x7f, -1, -1, -1))),
        Map.entry(
            "stream window overflow", times(3, frame(WINDOW_UPDATE, 0, STREAM, 0x7f, -1, -1, -1))),
        Map.entry("GOAWAY", join(goAway, goAway, goAway)),
        Map.entry("too many pings", tooManyPings),
        Map.entry("GOAWAY without body", frame(GOAWAY, 0, 0)),
        Map.entry("reset", times(300, frame(RST_STREAM, 0, STREAM, 0, 0, 0, 8))),
        Map.entry("resets without end", times(60_000, frame(RST_STREAM, 0, STREAM, 0, 0, 0, 8))),
        Map.entry("reset of no stream", frame(RST_STREAM, 0, 101, 0, 0, 0, 8)),
        Map.entry("reset of the connection", frame(RST_STREAM, 0, 0, 0, 0, 0, 8)),
        Map.entry("data of no stream", frame(DATA, 0, 101, 1, 2, 3)),
        Map.entry("data of the connection", frame(DATA, 0, 0, 1, 2, 3)),
        Map.entry("data before headers", frame(DATA, 0, STREAM, 0, 0, 0, 0, 1, 1)),
        Map.entry("bad padding", join(ok, frame(DATA, 8, STREAM, 200, 1))),
        Map.entry("bad HPACK", frame(HEADERS, END_HEADERS, STREAM, 0xff, 0xff, 0xff, 0xff, 0x7f)),
        Map.entry("headers of no stream", frame(HEADERS, END_HEADERS, 101, 0x88)),
        Map.entry("headers of an even stream", frame(HEADERS, END_HEADERS, 2, 0x88)),
        Map.entry("headers twice", join(ok, ok, ok)),
        Map.entry("no status", frame(HEADERS, END_HEADERS, STREAM, 0x84)),
        Map.entry("status 500", frame(HEADERS, END_HEADERS | 1, STREAM, 0x8e)),
        Map.entry("no gRPC", join(bare, frame(DATA, 1, STREAM, "<html>".chars().toArray()))),
        Map.entry("CONTINUATION alone", frame(CONTINUATION, 4, STREAM, 0x88)),
        Map.entry("headers without end", join(frame(HEADERS, 0, STREAM, 0x88), ping)),
        Map.entry("promise", frame(PUSH_PROMISE, 4, STREAM, 0, 0, 0, 2, 0x88)),
        Map.entry("empty data", join(ok, times(60_000, frame(DATA, 0, STREAM)))),
        Map.entry("words of a failure", join(bare, times(2_000, frame(DATA, 0, STREAM, 1)))),
        Map.entry("more headers", join(ok, times(2_000, ok))),
        Map.entry("more headers of a failure", join(bare, times(2_000, bare))),
        Map.entry(
            "data after the end",
            join(ok, frame(DATA, 1, STREAM, 0), times(2_000, frame(DATA, 0, STREAM, 1)))),
        Map.entry("bad message", join(ok, frame(DATA, 0, STREAM, 0, 0, 0, 0, 2, -1, -1))),
        Map.entry("bad compression", join(ok, frame(DATA, 0, STREAM, 1, 0, 0, 0, 1, 1))),
        Map.entry("message too large", join(ok, frame(DATA, 0, STREAM, 0, 0x7f, -1, -1, -1, 1))))
        .entrySet()
        .stream();
  }

  @ParameterizedTest
  @MethodSource("openings")
  void guestThatSpeaksNoHttp2IsNotWrittenOf(Map.Entry<String, byte[]> opening) throws Exception {
    misbehave(opening, false);
  }

  @ParameterizedTest
  @MethodSource("answers")
  void guestThatMisbehavesIsNotWrittenOf(Map.Entry<String, byte[]> answer) throws Exception {
    misbehave(answer, true);
  }

  private void misbehave(Map.Entry<String, byte[]> bytes, boolean duringCall) throws Exception {
    try (AgentPair pair = new AgentPair(null, AgentPair.LARGE, 41)) {
      CompletableFuture<AgentInfo> info = pair.client.getInfo();
      if (duringCall) {
        pair.writeAll(ByteBuffer.wrap(frame(SETTINGS, 0, 0)));
        awaitCall(pair);
      }
      pair.writeAll(ByteBuffer.wrap(bytes.getValue()));
      pair.guest.shutdownOutput();
      pair.client.disconnected().get();
      assertThrows(ExecutionException.class, info::get);
    }
    assertEquals(List.of(), logged, bytes.getKey());
  }

  @Test
  void guestThatMakesTheHostAnswerAndDoesNotReadIsNotWrittenOf() throws Exception {
    try (AgentPair pair = new AgentPair(null, AgentPair.SMALL, 42)) {
      CompletableFuture<AgentInfo> info = pair.client.getInfo();
      byte[] ping = frame(PING, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8);
      pair.writeAll(ByteBuffer.wrap(join(frame(SETTINGS, 0, 0), times(50_000, ping))));
      pair.client.disconnected().get();
      assertThrows(ExecutionException.class, info::get);
    }
    assertEquals(List.of(), logged);
  }

  @Test
  void guestThatEndsInTheMiddleIsNotWrittenOf() throws Exception {
    FakeProgram flood =
        process -> {
          while (true) {
            process.write(false, new byte[1 << 16]);
          }
        };
    try (AgentPair pair = AgentPair.with(Map.of("flood", flood), AgentPair.LARGE, 43)) {
      RecordingListener listener = new RecordingListener();
      pair.run(
          new ProcessRequest(
              List.of("flood"),
              List.of(),
              "/",
              "",
              null,
              0,
              true,
              0,
              -1,
              0,
              false,
              ProcessRequest.Outputs.APART,
              null,
              "",
              false),
          listener,
          null);
      listener.started.get();
      pair.guest.close();
      pair.client.disconnected().get();
      listener.failure.get();
    }
    assertEquals(List.of(), logged);
  }

  /** Reads what gRPC says first, up to the headers of the first call. */
  private static void awaitCall(AgentPair pair) throws Exception {
    // The connection preface (RFC 9113 section 3.4).
    read(pair, 24);
    int type;
    do {
      ByteBuffer header = read(pair, 9);
      type = header.get(3);
      read(pair, header.getInt(0) >>> 8);
    } while (type != HEADERS);
  }

  private static ByteBuffer read(AgentPair pair, int bytes) throws Exception {
    Semaphore readable = new Semaphore(0);
    pair.guest.setEventListener(readable::release);
    ByteBuffer read = ByteBuffer.allocate(bytes);
    while (read.hasRemaining()) {
      if (pair.guest.read(read) == 0) {
        readable.acquire();
      }
    }
    return read;
  }
}
