// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Ip;
import dev.nacelle.net.Frames.Hello;
import dev.nacelle.net.Frames.Refusal;
import dev.nacelle.net.Frames.Reset;
import dev.nacelle.spi.GuestConnection;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;

/**
 * An agent that a test plays, at the other end of a network's link: sends what the test says, and
 * keeps what the host sends until the test asks for it. It takes content without being told to,
 * unless {@link #takeNothing} was called. Safe for use from several threads.
 */
final class PlayedAgent implements AutoCloseable {
  /** Of each flow, both ways. */
  static final int WINDOW = 256 << 10;

  private static final long LIMIT_NANOS = 20_000_000_000L;

  private final SocketChannel channel;
  private final GuestConnection connection;
  private final Thread reader;

  /** Guards what follows, and is told of each change. */
  private final Object lock = new Object();

  private final List<Message> received = new ArrayList<>();
  private int lastFlow = -1;
  private boolean takes = true;
  private boolean over;
  private boolean forgets;
  private boolean paused;

  /** What the host has sent. */
  sealed interface Message {
    /** What is 0 of those that are of no flow. */
    int flow();
  }

  record Greeted(Hello hello) implements Message {
    @Override
    public int flow() {
      return 0;
    }
  }

  record Opened(int flow, int window) implements Message {}

  record Refused(int flow, Refusal why) implements Message {}

  record Accept(int flow, Place place, int window) implements Message {}

  record Data(int flow, byte[] bytes) implements Message {}

  record Fin(int flow) implements Message {}

  record Resets(int flow, Reset why) implements Message {}

  record Credited(int flow, int amount) implements Message {}

  record Datagram(Place place, boolean refused, byte[] bytes) implements Message {
    @Override
    public int flow() {
      return 0;
    }
  }

  record Echo(Place place, boolean refused, byte[] bytes) implements Message {
    @Override
    public int flow() {
      return 0;
    }
  }

  record Denial(String line) implements Message {
    @Override
    public int flow() {
      return 0;
    }
  }

  record ResetsAll(long epochHigh, long epochLow) implements Message {
    @Override
    public int flow() {
      return 0;
    }
  }

  /** Makes both ends; the host is to be given {@link #connection()}. */
  PlayedAgent() throws IOException {
    try (ServerSocketChannel server = ServerSocketChannel.open()) {
      server.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 1);
      channel = SocketChannel.open(server.getLocalAddress());
      SocketChannel accepted = server.accept();
      for (SocketChannel end : List.of(channel, accepted)) {
        end.setOption(StandardSocketOptions.TCP_NODELAY, true);
      }
      connection = new SocketGuestConnection(accepted);
    }
    reader = new Thread(this::read, "played-agent");
    reader.setDaemon(true);
    reader.start();
  }

  /** One that the network has greeted. */
  static PlayedAgent of(HostNetwork network) throws IOException {
    PlayedAgent agent = new PlayedAgent();
    network.accept(agent.connection());
    agent.hello();
    return agent;
  }

  /** The host's end. */
  GuestConnection connection() {
    return connection;
  }

  private void read() {
    ByteBuffer buffer = ByteBuffer.allocate(64 << 10);
    FrameDecoder decoder = new FrameDecoder(Frames.Side.HOST, Frames.MAX_DATA);
    try {
      while (mayRead() && channel.read(buffer) >= 0) {
        decoder.feed(buffer.flip(), new Recorder());
        buffer.clear();
      }
    } catch (FrameException e) {
      throw new AssertionError("the host breaks the link's rules", e);
    } catch (IOException e) {
      // It was closed, by whichever side.
    } finally {
      synchronized (lock) {
        over = true;
        lock.notifyAll();
      }
    }
  }

  /** Waits while it is paused. */
  private boolean mayRead() {
    synchronized (lock) {
      try {
        while (paused) {
          lock.wait();
        }
        return true;
      } catch (InterruptedException e) {
        return false;
      }
    }
  }

  private void add(Message message) {
    synchronized (lock) {
      if (forgets && !(message instanceof Echo)) {
        return;
      }
      received.add(message);
      lock.notifyAll();
    }
  }

  /** Keeps what comes. */
  private final class Recorder implements FrameHandler {
    @Override
    public void hello(Hello hello) {
      add(new Greeted(hello));
    }

    @Override
    public void open(int flow, boolean v6, long high, long low, int remote, int local, int window) {
      throw notOfTheHosts();
    }

    @Override
    public void opened(int flow, int window) {
      add(new Opened(flow, window));
    }

    @Override
    public void refused(int flow, Refusal why) {
      add(new Refused(flow, why));
    }

    @Override
    public void accept(
        int flow, boolean v6, long high, long low, int remote, int local, int window) {
      add(new Accept(flow, place(v6, high, low, remote, local), window));
    }

    @Override
    public void accepted(int flow, int window) {
      throw notOfTheHosts();
    }

    @Override
    public void data(int flow, ByteBuffer bytes) {
      byte[] content = bytes(bytes);
      add(new Data(flow, content));
      boolean give;
      synchronized (lock) {
        give = takes;
      }
      if (give) {
        give(flow, content.length);
      }
    }

    @Override
    public void fin(int flow) {
      add(new Fin(flow));
    }

    @Override
    public void reset(int flow, Reset why) {
      add(new Resets(flow, why));
    }

    @Override
    public void credit(int flow, int amount) {
      add(new Credited(flow, amount));
    }

    @Override
    public void datagram(
        boolean v6, long high, long low, int remote, int local, boolean refused, ByteBuffer bytes) {
      add(new Datagram(place(v6, high, low, remote, local), refused, bytes(bytes)));
    }

    @Override
    public void echo(
        boolean v6, long high, long low, int remote, int local, boolean refused, ByteBuffer bytes) {
      add(new Echo(place(v6, high, low, remote, local), refused, bytes(bytes)));
    }

    @Override
    public void denial(ByteBuffer line) {
      add(new Denial(new String(bytes(line), StandardCharsets.US_ASCII)));
    }

    @Override
    public void resetAll(long epochHigh, long epochLow) {
      add(new ResetsAll(epochHigh, epochLow));
    }

    private void give(int flow, int amount) {
      try {
        PlayedAgent.this.credit(flow, amount);
      } catch (UncheckedIOException e) {
        // The host has ended the link meanwhile, which is seen when reading on.
      }
    }
  }

  private static AssertionError notOfTheHosts() {
    return new AssertionError("the decoder lets no such frame of a host's through");
  }

  private static Place place(boolean v6, long high, long low, int remote, int local) {
    return new Place(v6 ? Ip.v6(high, low) : Ip.v4((int) low), remote, local);
  }

  private static byte[] bytes(ByteBuffer from) {
    byte[] bytes = new byte[from.remaining()];
    from.get(bytes);
    return bytes;
  }

  // -- What is sent

  /** Sends any bytes, as a hostile agent would. */
  void raw(ByteBuffer bytes) {
    synchronized (channel) {
      try {
        while (bytes.hasRemaining()) {
          channel.write(bytes);
        }
      } catch (IOException e) {
        throw new UncheckedIOException("the link has ended", e);
      }
    }
  }

  private static ByteBuffer frame() {
    return ByteBuffer.allocate(Frames.HEADER + Frames.ADDRESS_BYTES + Frames.MAX_DATA);
  }

  /** Says what it takes, and waits for the host to say that. */
  Hello hello() {
    Hello hello = new Hello(Frames.MAX_DATA, WINDOW, WINDOW, 1, 2);
    ByteBuffer out = frame();
    Frames.putHello(out, hello);
    raw(out.flip());
    return await(Greeted.class, greeted -> true).hello();
  }

  /** A flow's number, whose OPEN was sent with a window of {@link #WINDOW}. */
  int open(String address, int port) {
    return open(new Place(AddressClassTest.ip(address), port, 40_000), WINDOW);
  }

  /** A flow's number, whose OPEN was sent. */
  int open(Place place, int window) {
    ByteBuffer out = frame();
    int flow;
    synchronized (lock) {
      lastFlow += 2;
      flow = lastFlow;
    }
    Ip remote = place.remote();
    Frames.putOpen(
        out,
        Frames.OPEN,
        flow,
        remote.v6(),
        remote.high(),
        remote.low(),
        place.remotePort(),
        place.localPort(),
        window);
    raw(out.flip());
    return flow;
  }

  /** A flow that the host has opened; an AssertionError where it refuses. */
  int connect(String address, int port) {
    int flow = open(address, port);
    Message answer =
        await(
            Message.class,
            message ->
                message.flow() == flow
                    && (message instanceof Opened || message instanceof Refused));
    if (!(answer instanceof Opened)) {
      throw new AssertionError(answer);
    }
    return flow;
  }

  /** What the host refuses a flow with. */
  Refusal refusal(String address, int port) {
    return awaitRefused(open(address, port));
  }

  Refusal awaitRefused(int flow) {
    return await(Refused.class, refused -> refused.flow() == flow).why();
  }

  void accepted(int flow, int window) {
    ByteBuffer out = frame();
    Frames.putOpened(out, Frames.ACCEPTED, flow, window);
    raw(out.flip());
  }

  void refused(int flow, Refusal why) {
    ByteBuffer out = frame();
    Frames.putRefused(out, flow, why);
    raw(out.flip());
  }

  /** At most {@link Frames#MAX_DATA} bytes. */
  void data(int flow, byte[] bytes) {
    ByteBuffer out = frame();
    Frames.putDataHeader(out, flow, bytes.length);
    raw(out.put(bytes).flip());
  }

  void data(int flow, String text) {
    data(flow, text.getBytes(StandardCharsets.ISO_8859_1));
  }

  void fin(int flow) {
    ByteBuffer out = frame();
    Frames.putFin(out, flow);
    raw(out.flip());
  }

  void reset(int flow, Reset why) {
    ByteBuffer out = frame();
    Frames.putReset(out, flow, why);
    raw(out.flip());
  }

  void credit(int flow, int amount) {
    ByteBuffer out = frame();
    Frames.putCredit(out, flow, amount);
    raw(out.flip());
  }

  void datagram(Place place, byte[] bytes) {
    message(Frames.DGRAM, place, bytes);
  }

  void echo(Place place, byte[] bytes) {
    message(Frames.ECHO, place, bytes);
  }

  private void message(int type, Place place, byte[] bytes) {
    ByteBuffer out = frame();
    Ip remote = place.remote();
    Frames.putMessageHead(
        out,
        type,
        remote.v6(),
        remote.high(),
        remote.low(),
        place.remotePort(),
        place.localPort(),
        false,
        bytes.length);
    raw(out.put(bytes).flip());
  }

  /** From now on no credit is given for what comes. */
  void takeNothing() {
    synchronized (lock) {
      takes = false;
    }
  }

  /** From now on nothing is kept but greetings and echoes, and no credit given: for storms. */
  void forgetOthers() {
    synchronized (lock) {
      takes = false;
      forgets = true;
    }
  }

  /** From now on it does not even read what comes, but what it is about to read. */
  void pause() {
    synchronized (lock) {
      paused = true;
    }
  }

  /** It reads again. */
  void goOn() {
    synchronized (lock) {
      paused = false;
      lock.notifyAll();
    }
  }

  // -- What was received

  /**
   * Takes the first message that is such a one, and leaves the others.
   *
   * @throws AssertionError when none comes within 20 seconds, or the link ends
   */
  <T extends Message> T await(Class<T> type, Predicate<? super T> which) {
    long end = System.nanoTime() + LIMIT_NANOS;
    synchronized (lock) {
      while (true) {
        for (int i = 0; i < received.size(); i++) {
          Message message = received.get(i);
          if (type.isInstance(message) && which.test(type.cast(message))) {
            received.remove(i);
            return type.cast(message);
          }
        }
        if (over) {
          throw new AssertionError("the link has ended; there are " + received);
        }
        waitUntil(end, type.getSimpleName() + " does not come");
      }
    }
  }

  private void waitUntil(long end, String fault) {
    long millis = (end - System.nanoTime()) / 1_000_000;
    if (millis <= 0) {
      throw new AssertionError(fault + "; there are " + received);
    }
    try {
      lock.wait(millis);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError(e);
    }
  }

  /** So many bytes of a flow, which may have come in several parts; what is beyond is left. */
  byte[] bytes(int flow, int count) {
    ByteArrayOutputStream whole = new ByteArrayOutputStream();
    while (whole.size() < count) {
      byte[] part = await(Data.class, data -> data.flow() == flow).bytes();
      int taken = Math.min(part.length, count - whole.size());
      whole.write(part, 0, taken);
      if (taken < part.length) {
        byte[] rest = new byte[part.length - taken];
        System.arraycopy(part, taken, rest, 0, rest.length);
        synchronized (lock) {
          received.add(0, new Data(flow, rest));
        }
      }
    }
    return whole.toByteArray();
  }

  /** As {@link #bytes}, one char each. */
  String text(int flow, int count) {
    return new String(bytes(flow, count), StandardCharsets.ISO_8859_1);
  }

  /** All that has come and was not asked for. */
  List<Message> received() {
    synchronized (lock) {
      return List.copyOf(received);
    }
  }

  /** Waits until the host has ended the link. */
  void awaitEnd() {
    long end = System.nanoTime() + LIMIT_NANOS;
    synchronized (lock) {
      while (!over) {
        waitUntil(end, "the link does not end");
      }
    }
  }

  @Override
  public void close() {
    try {
      channel.close();
      goOn();
      reader.join();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    connection.close();
  }
}
