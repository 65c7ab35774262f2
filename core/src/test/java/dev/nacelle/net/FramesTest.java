// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.AddressClassTest.ip;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.nacelle.internal.check.Ip;
import dev.nacelle.net.FrameException.Violation;
import dev.nacelle.net.Frames.Hello;
import dev.nacelle.net.Frames.Refusal;
import dev.nacelle.net.Frames.Reset;
import dev.nacelle.net.Frames.Side;
import java.lang.management.ManagementFactory;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

class FramesTest {
  private static final Hello HELLO = new Hello(65_536, 65_536, 1 << 20, 0x0123_4567_89ab_cdefL, 7);
  private static final Ip V4 = ip("192.0.2.200");
  private static final Ip V6 = ip("2001:db8::ff");

  /** Writes down what it is told: parts of DATA as one. */
  static final class Log implements FrameHandler {
    final StringBuilder text = new StringBuilder();
    private int dataFlow;

    private void add(String line) {
      dataFlow = 0;
      text.append(text.length() == 0 ? "" : "\n").append(line);
    }

    private static String address(boolean v6, long high, long low, int remote, int local) {
      return (v6 ? new Ip(true, high, low) : Ip.v4((int) low)) + " " + remote + " " + local;
    }

    private static String hex(ByteBuffer bytes) {
      byte[] copy = new byte[bytes.remaining()];
      bytes.get(copy);
      return HexFormat.of().formatHex(copy);
    }

    @Override
    public void hello(Hello hello) {
      add(hello.toString());
    }

    @Override
    public void open(int flow, boolean v6, long high, long low, int remote, int local, int window) {
      add("open " + flow + " " + address(v6, high, low, remote, local) + " " + window);
    }

    @Override
    public void opened(int flow, int window) {
      add("opened " + flow + " " + window);
    }

    @Override
    public void refused(int flow, Refusal why) {
      add("refused " + flow + " " + why);
    }

    @Override
    public void accept(
        int flow, boolean v6, long high, long low, int remote, int local, int window) {
      add("accept " + flow + " " + address(v6, high, low, remote, local) + " " + window);
    }

    @Override
    public void accepted(int flow, int window) {
      add("accepted " + flow + " " + window);
    }

    @Override
    public void data(int flow, ByteBuffer bytes) {
      if (dataFlow != flow) {
        add("data " + flow + " ");
        dataFlow = flow;
      }
      text.append(hex(bytes));
    }

    @Override
    public void fin(int flow) {
      add("fin " + Integer.toUnsignedString(flow));
    }

    @Override
    public void reset(int flow, Reset why) {
      add("reset " + flow + " " + why);
    }

    @Override
    public void credit(int flow, int amount) {
      add("credit " + flow + " " + amount);
    }

    @Override
    public void datagram(
        boolean v6, long high, long low, int remote, int local, boolean refused, ByteBuffer bytes) {
      add("datagram " + address(v6, high, low, remote, local) + " " + refused + " " + hex(bytes));
    }

    @Override
    public void echo(
        boolean v6, long high, long low, int sequence, int id, boolean refused, ByteBuffer bytes) {
      add("echo " + address(v6, high, low, sequence, id) + " " + refused + " " + hex(bytes));
    }

    @Override
    public void resetAll(long epochHigh, long epochLow) {
      add("reset all " + epochHigh + " " + epochLow);
    }

    @Override
    public void denial(ByteBuffer line) {
      add("denial " + hex(line));
    }
  }

  static byte[] frames(Consumer<ByteBuffer> writer) {
    ByteBuffer out = ByteBuffer.allocate(1 << 18);
    writer.accept(out);
    return Arrays.copyOf(out.array(), out.position());
  }

  private static void open(ByteBuffer out, int type, int flow, Ip address) {
    Frames.putOpen(
        out, type, flow, address.v6(), address.high(), address.low(), 443, 50_000, 65_536);
  }

  private static void message(ByteBuffer out, int type, Ip to, boolean refused, byte... content) {
    Frames.putMessageHead(
        out, type, to.v6(), to.high(), to.low(), 53, 50_001, refused, content.length);
    out.put(content);
  }

  static byte[] fromGuest() {
    return frames(
        out -> {
          Frames.putHello(out, HELLO);
          open(out, Frames.OPEN, 1, V4);
          open(out, Frames.OPEN, 3, V6);
          Frames.putDataHeader(out, 1, 3);
          out.put(new byte[] {1, 2, 3});
          Frames.putCredit(out, 1, 65_536);
          Frames.putOpened(out, Frames.ACCEPTED, 2, 4096);
          Frames.putRefused(out, 4, Refusal.REFUSED);
          message(out, Frames.DGRAM, V6, false, (byte) 9);
          message(out, Frames.DGRAM, V4, false);
          message(out, Frames.ECHO, V4, false, (byte) 8, (byte) 7);
          Frames.putDataHeader(out, 2, 1);
          out.put((byte) 6);
          Frames.putFin(out, 1);
          Frames.putReset(out, 3, Reset.ABORTED);
        });
  }

  private static final String FROM_GUEST =
      HELLO
          + "\nopen 1 192.0.2.200 443 50000 65536"
          + "\nopen 3 2001:db8::ff 443 50000 65536"
          + "\ndata 1 010203"
          + "\ncredit 1 65536"
          + "\naccepted 2 4096"
          + "\nrefused 4 REFUSED"
          + "\ndatagram 2001:db8::ff 53 50001 false 09"
          + "\ndatagram 192.0.2.200 53 50001 false "
          + "\necho 192.0.2.200 53 50001 false 0807"
          + "\ndata 2 06"
          + "\nfin 1"
          + "\nreset 3 ABORTED";

  static byte[] fromHost() {
    return frames(
        out -> {
          Frames.putHello(out, HELLO);
          Frames.putOpened(out, Frames.OPENED, 1, 1);
          Frames.putRefused(out, 3, Refusal.POLICY);
          open(out, Frames.ACCEPT, 2, V4);
          Frames.putDataHeader(out, 1, 1);
          out.put((byte) 5);
          message(out, Frames.DGRAM, V4, true);
          message(out, Frames.ECHO, V6, true);
          Frames.putReset(out, 2, Reset.LIMIT);
          Frames.putResetAll(out, -1, 5);
          Frames.putDenial(out, new byte[] {'n', 'o'});
        });
  }

  private static final String FROM_HOST =
      HELLO
          + "\nopened 1 1"
          + "\nrefused 3 POLICY"
          + "\naccept 2 192.0.2.200 443 50000 65536"
          + "\ndata 1 05"
          + "\ndatagram 192.0.2.200 53 50001 true "
          + "\necho 2001:db8::ff 53 50001 true "
          + "\nreset 2 LIMIT"
          + "\nreset all -1 5"
          + "\ndenial 6e6f";

  static String read(Side from, byte[] bytes, int piece) throws FrameException {
    Log log = new Log();
    FrameDecoder decoder = new FrameDecoder(from, Frames.MAX_DATA);
    for (int at = 0; at < bytes.length; at += piece) {
      ByteBuffer in = ByteBuffer.wrap(bytes, at, Math.min(piece, bytes.length - at));
      decoder.feed(in, log);
      assertEquals(0, in.remaining());
    }
    return log.text.toString();
  }

  @Test
  void framesAreReadAsTheyWereWrittenHoweverTheyAreCut() throws Exception {
    for (int piece = 1; piece <= fromGuest().length; piece++) {
      assertEquals(FROM_GUEST, read(Side.GUEST, fromGuest(), piece));
    }
    for (int piece = 1; piece <= fromHost().length; piece++) {
      assertEquals(FROM_HOST, read(Side.HOST, fromHost(), piece));
    }
  }

  /** The other side is written in another language: these are the bytes. */
  @Test
  void theBytesAreThese() {
    assertEquals(
        "010000000000000000000020"
            + "00000001000100000001000000100000"
            + "0123456789abcdef0000000000000007",
        HexFormat.of().formatHex(frames(out -> Frames.putHello(out, HELLO))));
    assertEquals(
        "02000000000000010000001c" + "040001bbc3500000c00002c800000000000000000000000000010000",
        HexFormat.of().formatHex(frames(out -> open(out, Frames.OPEN, 1, V4))));
    assertEquals(
        "0b0100000000000000000018" + "06000035c351000020010db80000000000000000000000ff",
        HexFormat.of().formatHex(frames(out -> message(out, Frames.DGRAM, V6, true))));
    assertEquals(
        "0a000000fffffffd00000007",
        HexFormat.of().formatHex(frames(out -> Frames.putCredit(out, -3, 7))));
    assertEquals(
        "0900000000000003" + "0000000400000003",
        HexFormat.of().formatHex(frames(out -> Frames.putReset(out, 3, Reset.STALLED))));
  }

  @ParameterizedTest
  @EnumSource
  void everyRefusalHasItsCode(Refusal why) throws Exception {
    byte[] bytes =
        frames(
            out -> {
              Frames.putHello(out, HELLO);
              Frames.putRefused(out, 1, why);
            });
    assertEquals(HELLO + "\nrefused 1 " + why, read(Side.HOST, bytes, 1000));
  }

  @Test
  void theLongestFramesAreTaken() throws Exception {
    byte[] content = new byte[Frames.MAX_DATAGRAM];
    Arrays.fill(content, (byte) 3);
    byte[] bytes =
        frames(
            out -> {
              Frames.putHello(out, HELLO);
              open(out, Frames.OPEN, 1, V4);
              Frames.putDataHeader(out, 1, Frames.MAX_DATA);
              out.put(new byte[Frames.MAX_DATA]);
              message(out, Frames.DGRAM, V4, false, content);
              message(out, Frames.ECHO, V4, false, new byte[Frames.MAX_ECHO]);
              Frames.putCredit(out, 1, Frames.MAX_WINDOW);
            });
    String whole = read(Side.GUEST, bytes, bytes.length);
    assertEquals(whole, read(Side.GUEST, bytes, 1009));
    assertEquals(
        HexFormat.of().formatHex(content), whole.split("\n")[3].replaceFirst(".* false ", ""));
  }

  @Test
  void whatTheHandlerLeavesOfDataIsTaken() throws Exception {
    int[] seen = {0};
    Log log = new Log();
    byte[] bytes = fromGuest();
    ByteBuffer in = ByteBuffer.wrap(bytes);
    FrameHandler lazy =
        (FrameHandler)
            Proxy.newProxyInstance(
                FramesTest.class.getClassLoader(),
                new Class<?>[] {FrameHandler.class},
                (proxy, method, arguments) -> {
                  if (method.getName().equals("data")) {
                    seen[0] += ((ByteBuffer) arguments[1]).remaining();
                    return null;
                  }
                  return method.invoke(log, arguments);
                });
    new FrameDecoder(Side.GUEST, Frames.MAX_DATA).feed(in, lazy);
    assertEquals(4, seen[0]);
    assertEquals(FROM_GUEST.replaceAll("\ndata \\d.*", ""), log.text.toString());
  }

  private static Arguments row(Violation violation, Side from, String hex) {
    return arguments(violation, from, hex);
  }

  /** Frames in hexadecimal, after HELLO unless that is missing itself. */
  static Stream<Arguments> violations() {
    String open =
        "02000000000000010000001c040001bbc3500000c00002c800000000000000000000000000010000";
    String four = "0000000000000004";
    return Stream.of(
        row(Violation.NO_HELLO, Side.GUEST, "!" + open),
        row(Violation.OTHER_VERSION, Side.GUEST, "!" + hello("00000002000100000001000000100000")),
        row(Violation.WRONG_VALUE, Side.GUEST, "!" + hello("00000001000003ff0001000000100000")),
        row(Violation.WRONG_VALUE, Side.GUEST, "!" + hello("00000001000100010001000000100000")),
        row(Violation.WRONG_VALUE, Side.GUEST, "!" + hello("00000001000100000000000000100000")),
        row(Violation.WRONG_VALUE, Side.GUEST, "!" + hello("00000001000100000010000000000001")),
        row(Violation.WRONG_VALUE, Side.GUEST, "!" + hello("00000001000100000001000001000001")),
        row(Violation.TOO_LONG, Side.GUEST, "!010000000000000000000021"),
        row(Violation.TOO_SHORT, Side.GUEST, "!01000000000000000000001f"),
        row(Violation.WRONG_FLOW, Side.GUEST, "!010000000000000100000020"),
        row(Violation.SECOND_HELLO, Side.GUEST, "010000000000000000000020"),
        row(Violation.UNKNOWN_TYPE, Side.GUEST, "000000000000000000000000"),
        row(Violation.UNKNOWN_TYPE, Side.GUEST, "0f0000000000000000000000"),
        row(Violation.WRONG_DIRECTION, Side.GUEST, "0e0000000000000000000001"),
        row(Violation.TOO_SHORT, Side.HOST, "0e0000000000000000000000"),
        row(Violation.TOO_LONG, Side.HOST, "0e0000000000000000000201"),
        row(Violation.WRONG_FLOW, Side.HOST, "0e0000000000000200000001"),
        row(Violation.WRONG_VALUE, Side.HOST, "0e00000000000000000000020a41"),
        row(Violation.WRONG_VALUE, Side.HOST, "0e0000000000000000000002417f"),
        row(Violation.UNKNOWN_TYPE, Side.HOST, "ff0000000000000000000000"),
        row(Violation.WRONG_DIRECTION, Side.GUEST, "0300000000000001" + "00000004"),
        row(Violation.WRONG_DIRECTION, Side.GUEST, "05000000000000020000001c"),
        row(Violation.WRONG_DIRECTION, Side.GUEST, "0d0000000000000000000010"),
        row(Violation.WRONG_DIRECTION, Side.HOST, "02000000000000010000001c"),
        row(Violation.WRONG_DIRECTION, Side.HOST, "0600000000000002" + "00000004"),
        row(Violation.RESERVED_BITS, Side.GUEST, "080100000000000100000000"),
        row(Violation.RESERVED_BITS, Side.GUEST, "080000010000000100000000"),
        row(Violation.RESERVED_BITS, Side.GUEST, "0b0100000000000000000018"),
        row(Violation.RESERVED_BITS, Side.HOST, "0b0200000000000000000018"),
        row(Violation.RESERVED_BITS, Side.HOST, "080100000000000100000000"),
        row(Violation.RESERVED_BITS, Side.GUEST, open.replace("040001bb", "040101bb")),
        row(Violation.RESERVED_BITS, Side.GUEST, open.replace("c3500000", "c3500001")),
        row(Violation.RESERVED_BITS, Side.GUEST, open.replace("c800000000", "c800000001")),
        row(Violation.RESERVED_BITS, Side.GUEST, open.replace("000000010000", "000100010000")),
        row(Violation.WRONG_VALUE, Side.GUEST, open.replace("1c04", "1c05")),
        row(Violation.WRONG_VALUE, Side.GUEST, open.replace("01bb", "0000")),
        row(Violation.WRONG_VALUE, Side.GUEST, open.replace("c350", "0000")),
        row(Violation.WRONG_VALUE, Side.GUEST, open.substring(0, 72) + "00000000"),
        row(Violation.WRONG_VALUE, Side.GUEST, open.substring(0, 72) + "01000001"),
        row(Violation.WRONG_VALUE, Side.GUEST, open.substring(0, 72) + "80000000"),
        row(Violation.WRONG_FLOW, Side.GUEST, "02000000000000020000001c"),
        row(Violation.WRONG_FLOW, Side.GUEST, "02000000000000000000001c"),
        row(Violation.WRONG_FLOW, Side.HOST, "05000000000000010000001c"),
        row(Violation.WRONG_FLOW, Side.HOST, "05000000000000000000001c"),
        row(Violation.WRONG_FLOW, Side.GUEST, "060000000000000300000004"),
        row(Violation.WRONG_FLOW, Side.HOST, "030000000000000200000004"),
        row(Violation.WRONG_FLOW, Side.GUEST, "040000000000000100000004"),
        row(Violation.WRONG_FLOW, Side.GUEST, "070000000000000000000001"),
        row(Violation.WRONG_FLOW, Side.GUEST, "0b0000000000000100000018"),
        row(Violation.WRONG_FLOW, Side.GUEST, "0c0000000000000100000018"),
        row(Violation.WRONG_FLOW, Side.HOST, "0d0000000000000100000010"),
        row(Violation.FLOW_REUSED, Side.GUEST, open + open),
        row(Violation.FLOW_REUSED, Side.GUEST, open.replace("00000001000", "00000005000") + open),
        row(Violation.UNKNOWN_FLOW, Side.GUEST, open + "070000000000000300000001"),
        row(Violation.UNKNOWN_FLOW, Side.GUEST, "080000000000000100000000"),
        row(Violation.UNKNOWN_FLOW, Side.HOST, "0a0000000000000200000001"),
        row(Violation.TOO_LONG, Side.GUEST, open + "070000000000000100010001"),
        row(Violation.TOO_LONG, Side.GUEST, open + "0700000000000001ffffffff"),
        row(Violation.TOO_LONG, Side.GUEST, open + "080000000000000100000001"),
        row(Violation.TOO_LONG, Side.GUEST, open + "0a0000000000000101000001"),
        row(Violation.TOO_LONG, Side.GUEST, "0b000000000000000000fffc"),
        row(Violation.TOO_LONG, Side.GUEST, "0c00000000000000000005d9"),
        row(Violation.TOO_LONG, Side.HOST, "0b0100000000000000000019"),
        row(Violation.TOO_LONG, Side.GUEST, "02000000000000010000001d"),
        row(Violation.TOO_SHORT, Side.GUEST, open + "070000000000000100000000"),
        row(Violation.TOO_SHORT, Side.GUEST, open + "0a0000000000000100000000"),
        row(Violation.TOO_SHORT, Side.GUEST, "0b0000000000000000000017"),
        row(Violation.TOO_SHORT, Side.GUEST, "02000000000000010000001b"),
        row(Violation.WRONG_VALUE, Side.HOST, "04000000000000010000000400000000"),
        row(Violation.WRONG_VALUE, Side.HOST, "04000000000000010000000400000007"),
        row(Violation.WRONG_VALUE, Side.HOST, "040000000000000100000004ffffffff"),
        row(
            Violation.WRONG_VALUE,
            Side.GUEST,
            open + "09" + "000000" + "00000001" + "00000004" + "00000005"),
        row(
            Violation.WRONG_VALUE,
            Side.HOST,
            "03" + "000000" + "00000001" + four.substring(8) + "00000000"));
  }

  private static String hello(String numbers) {
    return "010000000000000000000020" + numbers + "0".repeat(32);
  }

  @MethodSource("violations")
  @ParameterizedTest
  void violationsAreNamed(Violation violation, Side from, String hex) {
    byte[] frames = HexFormat.of().parseHex(hex.replace("!", ""));
    byte[] greeting = frames(out -> Frames.putHello(out, HELLO));
    byte[] all = Arrays.copyOf(greeting, greeting.length + frames.length);
    System.arraycopy(frames, 0, all, greeting.length, frames.length);
    byte[] sent = hex.startsWith("!") ? frames : all;
    for (int piece : new int[] {1, 7, sent.length}) {
      FrameException e = assertThrows(FrameException.class, () -> read(from, sent, piece), hex);
      assertEquals(violation, e.violation(), hex);
    }
  }

  @Test
  void flowsAreUnsigned() throws Exception {
    byte[] bytes =
        frames(
            out -> {
              Frames.putHello(out, HELLO);
              open(out, Frames.OPEN, 0x7fff_ffff, V4);
              open(out, Frames.OPEN, -1, V4);
              Frames.putFin(out, -1);
            });
    assertEquals("fin 4294967295", read(Side.GUEST, bytes, 1000).split("\n")[3]);
    FrameDecoder decoder = new FrameDecoder(Side.GUEST, 1024);
    byte[] long1 =
        frames(
            out -> {
              Frames.putHello(out, HELLO);
              open(out, Frames.OPEN, 1, V4);
              Frames.putDataHeader(out, 1, 1025);
            });
    FrameException e =
        assertThrows(FrameException.class, () -> decoder.feed(ByteBuffer.wrap(long1), new Log()));
    assertEquals(Violation.TOO_LONG, e.violation());
  }

  /** Told of everything, and keeps a number. */
  private static final class Count implements FrameHandler {
    long frames;

    @Override
    public void hello(Hello hello) {}

    @Override
    public void open(int flow, boolean v6, long high, long low, int remote, int local, int window) {
      frames++;
    }

    @Override
    public void opened(int flow, int window) {}

    @Override
    public void refused(int flow, Refusal why) {
      frames++;
    }

    @Override
    public void accept(
        int flow, boolean v6, long high, long low, int remote, int local, int window) {}

    @Override
    public void accepted(int flow, int window) {}

    @Override
    public void data(int flow, ByteBuffer bytes) {
      frames++;
    }

    @Override
    public void fin(int flow) {}

    @Override
    public void reset(int flow, Reset why) {
      frames++;
    }

    @Override
    public void credit(int flow, int amount) {
      frames++;
    }

    @Override
    public void datagram(
        boolean v6, long high, long low, int remote, int local, boolean refused, ByteBuffer bytes) {
      frames++;
    }

    @Override
    public void echo(
        boolean v6, long high, long low, int sequence, int id, boolean refused, ByteBuffer bytes) {
      frames++;
    }

    @Override
    public void resetAll(long epochHigh, long epochLow) {}

    @Override
    public void denial(ByteBuffer line) {
      frames++;
    }
  }

  @Test
  void noFrameCostsTheHostMemory() throws Exception {
    com.sun.management.ThreadMXBean threads =
        (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    byte[] begin =
        frames(
            out -> {
              Frames.putHello(out, HELLO);
              open(out, Frames.OPEN, 1, V4);
              message(out, Frames.DGRAM, V4, false, new byte[1000]);
            });
    byte[] again =
        frames(
            out -> {
              Frames.putDataHeader(out, 1, 100);
              out.put(new byte[100]);
              Frames.putCredit(out, 1, 7);
              message(out, Frames.DGRAM, V6, false, new byte[1000]);
              message(out, Frames.ECHO, V4, false, new byte[56]);
              Frames.putReset(out, 1, Reset.ABORTED);
              Frames.putRefused(out, 2, Refusal.LIMIT);
            });
    Count count = new Count();
    FrameDecoder decoder = new FrameDecoder(Side.GUEST, Frames.MAX_DATA);
    decoder.feed(ByteBuffer.wrap(begin), count);
    ByteBuffer in = ByteBuffer.wrap(again);
    decoder.feed(in, count);
    long before = threads.getThreadAllocatedBytes(Thread.currentThread().getId());
    for (int i = 0; i < 1000; i++) {
      in.clear();
      decoder.feed(in, count);
    }
    long allocated = threads.getThreadAllocatedBytes(Thread.currentThread().getId()) - before;
    assertEquals(2 + 6 * 1001, count.frames);
    assertTrue(allocated < 6000, () -> allocated + " bytes for 6000 frames");
  }

  @Test
  void creditIsCountedAndKeptTo() throws Exception {
    Credit credit = new Credit(100, 150);
    credit.use(60);
    credit.use(40);
    assertEquals(0, credit.left());
    assertEquals(
        Violation.OVER_CREDIT, assertThrows(FrameException.class, () -> credit.use(1)).violation());
    credit.add(150);
    assertEquals(150, credit.left());
    for (int more : new int[] {1, Integer.MAX_VALUE}) {
      assertEquals(
          Violation.TOO_MUCH_CREDIT,
          assertThrows(FrameException.class, () -> credit.add(more)).violation());
    }
    credit.use(150);
    assertThrows(IllegalArgumentException.class, () -> new Credit(2, 1));
    assertThrows(IllegalArgumentException.class, () -> new Credit(1, Frames.MAX_WINDOW + 1));
  }

  @Test
  void everyViolationIsTried() {
    Stream<Violation> ofFlows =
        Stream.of(
            Violation.OVER_CREDIT,
            Violation.TOO_MUCH_CREDIT,
            Violation.NOT_OPEN, // HostNetworkTest
            Violation.NOT_ASKED);
    List<Violation> tried =
        Stream.concat(violations().map(row -> (Violation) row.get()[0]), ofFlows)
            .distinct()
            .sorted()
            .toList();
    assertArrayEquals(Violation.values(), tried.toArray());
  }
}
