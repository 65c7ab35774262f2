// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.net.DnsMessage.Answer;
import dev.nacelle.net.Resolver.Outcome;
import java.io.EOFException;
import java.io.IOException;
import java.net.BindException;
import java.net.InetSocketAddress;
import java.net.PortUnreachableException;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.NetworkChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.SocketChannel;
import java.nio.channels.UnresolvedAddressException;
import java.nio.channels.UnsupportedAddressTypeException;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * One question to name servers: to one over UDP, over TCP where its answer does not fit; to the
 * next where that says nothing for some time or nothing of use; three times in all. Whoever was
 * asked may still answer until then. On the loop.
 */
final class Inquiry {
  static final int TRIES = 3;

  /** Datagrams of one socket at a time, so that others get their turn. */
  private static final int READS = 16;

  /** What is no answer to the question; more of it is somebody who guesses. */
  private static final int MAX_WRONG = 16;

  /** Ports that are tried before the host chooses one. */
  private static final int PORTS = 4;

  /** Of the upper half, which no service has by IANA's registry, or few. */
  private static final int FIRST_PORT = 1 << 15;

  private final Resolver resolver;
  private final String name;
  private final int type;
  private final Consumer<Outcome> then;
  private final List<Attempt> attempts = new ArrayList<>(TRIES);
  private int tries;

  /** How many servers were of no use. */
  private int passed;

  private boolean edns = true;

  /** Of sockets so far, and the one of the try that is waited for. */
  private int made;

  private int current;
  private NetworkLoop.@Nullable Timer timer;
  private String failure = "no name server is known";
  private boolean lacksDescriptors;
  private boolean over;

  Inquiry(Resolver resolver, String name, int type, Consumer<Outcome> then) {
    this.resolver = resolver;
    this.name = name;
    this.type = type;
    this.then = then;
  }

  /** Asks the next. */
  void next() {
    try {
      askNext();
    } catch (RuntimeException | Error e) {
      // Nobody would end it.
      end(new Outcome(null, "a fault at the host: " + e, lacksDescriptors));
      throw e;
    }
  }

  private void askNext() {
    stopTimer();
    boolean begun = true;
    while (!over) {
      List<InetSocketAddress> servers = resolver.servers();
      if (tries == TRIES || servers.isEmpty()) {
        if (begun || attempts.isEmpty()) {
          end(new Outcome(null, failure, lacksDescriptors));
        } else {
          // Those that were asked before have their time.
          timer = resolver.loop().schedule(this::silent, resolver.patience());
        }
        return;
      }
      tries++;
      // Servers that do not know EDNS say so, or say nothing.
      edns &= tries < TRIES;
      begun = begin(new UdpAttempt(servers.get(passed % servers.size())));
      if (begun) {
        timer = resolver.loop().schedule(this::silent, resolver.patience());
        return;
      }
      passed++;
    }
  }

  private void silent() {
    for (Attempt attempt : attempts) {
      remember(attempt, "no answer in time");
    }
    passed++;
    next();
  }

  private boolean begin(Attempt attempt) {
    attempts.add(attempt);
    current = attempt.number;
    try {
      attempt.begin();
      return true;
    } catch (IOException | UnresolvedAddressException | UnsupportedAddressTypeException e) {
      remember(attempt, String.valueOf(e.getMessage()));
      drop(attempt);
      return false;
    }
  }

  private void remember(Attempt attempt, String why) {
    failure = "the name server " + attempt.server.getHostString() + ": " + why;
  }

  private void drop(Attempt attempt) {
    attempts.remove(attempt);
    attempt.close();
  }

  /** Nothing is to be expected of it any more, nor of its server. */
  private void failed(Attempt attempt, String why) {
    remember(attempt, why);
    drop(attempt);
    if (attempt.number == current) {
      passed++;
    }
    goOn(attempt);
  }

  private void goOn(Attempt without) {
    if (without.number == current && tries < TRIES) {
      next();
    } else if (attempts.isEmpty()) {
      end(new Outcome(null, failure, lacksDescriptors));
    }
  }

  private void take(Attempt attempt, byte[] message, int length) {
    Answer answer;
    try {
      answer = DnsMessage.answer(message, length, attempt.id, name, type);
    } catch (DnsException e) {
      failed(attempt, String.valueOf(e.getMessage()));
      return;
    }
    if (answer.truncated() && attempt instanceof UdpAttempt) {
      askForAll(attempt);
    } else if (answer.truncated()) {
      failed(attempt, "an answer is cut, also over TCP");
    } else if (answer.rcode() == DnsMessage.NOERROR || answer.rcode() == DnsMessage.NXDOMAIN) {
      resolver.answered(attempt.server);
      end(new Outcome(answer, "", false));
    } else if (edns && answer.rcode() == DnsMessage.FORMERR) {
      edns = false;
      remember(attempt, "it does not know EDNS");
      drop(attempt);
      goOn(attempt);
    } else {
      failed(attempt, "it answers with the error " + answer.rcode());
    }
  }

  private void askForAll(Attempt cut) {
    int before = current;
    drop(cut);
    Attempt whole = new TcpAttempt(cut.server);
    boolean begun = begin(whole);
    current = before == cut.number ? whole.number : before;
    if (!begun) {
      failed(whole, "no TCP");
    }
  }

  private void end(Outcome outcome) {
    if (!over) {
      close();
      then.accept(outcome);
    }
  }

  /** Ends it, without a word. Idempotent. */
  void close() {
    over = true;
    stopTimer();
    attempts.forEach(Attempt::close);
    attempts.clear();
    resolver.ended(this);
  }

  private void stopTimer() {
    if (timer != null) {
      timer.cancel();
      timer = null;
    }
  }

  /** Makes a socket. */
  private interface Opening<C> {
    C open() throws IOException;
  }

  /** One socket to one server. */
  private abstract class Attempt implements NetworkLoop.Handler {
    final InetSocketAddress server;
    final int number = ++made;
    private @Nullable NetworkChannel channel;
    final int id = resolver.random().nextInt(1 << 16);

    Attempt(InetSocketAddress server) {
      this.server = server;
    }

    abstract void begin() throws IOException;

    abstract void read(SelectionKey key) throws IOException;

    /** Opens its socket, which {@link #close} closes. */
    final <C extends NetworkChannel> C open(Opening<C> opening) throws IOException {
      try {
        C opened = opening.open();
        channel = opened;
        return opened;
      } catch (IOException e) {
        lacksDescriptors = true;
        throw e;
      }
    }

    byte[] question() {
      return DnsMessage.question(id, name, type, edns);
    }

    @Override
    public final void ready(SelectionKey key) {
      try {
        read(key);
      } catch (PortUnreachableException e) {
        failed(this, "nobody is there");
      } catch (IOException e) {
        failed(this, String.valueOf(e.getMessage()));
      }
    }

    @Override
    public final void faulted() {
      failed(this, "its answer was not read");
    }

    final void close() {
      NetworkChannel opened = channel;
      if (opened != null) {
        Sockets.close(opened);
      }
    }
  }

  private final class UdpAttempt extends Attempt {
    private int wrong;

    UdpAttempt(InetSocketAddress server) {
      super(server);
    }

    @Override
    void begin() throws IOException {
      DatagramChannel opened = open(DatagramChannel::open);
      bind(opened);
      // From then on it receives from there alone; what came before is thrown away.
      opened.connect(server);
      resolver.loop().register(opened, SelectionKey.OP_READ, this);
      opened.write(ByteBuffer.wrap(question()));
    }

    private void bind(DatagramChannel opened) throws IOException {
      for (int i = 0; i < PORTS; i++) {
        try {
          opened.bind(
              new InetSocketAddress(
                  FIRST_PORT + resolver.random().nextInt((1 << 16) - FIRST_PORT)));
          return;
        } catch (BindException e) {
          // It is somebody's.
        }
      }
      opened.bind(null);
    }

    @Override
    void read(SelectionKey key) throws IOException {
      DatagramChannel opened = (DatagramChannel) key.channel();
      ByteBuffer buffer = resolver.buffer();
      for (int i = 0; i < READS && opened.isOpen(); i++) {
        buffer.clear();
        if (opened.receive(buffer) == null) {
          return;
        }
        byte[] message = buffer.array();
        int length = buffer.position();
        if (length > 1 && ((message[0] & 0xff) << 8 | message[1] & 0xff) == id) {
          take(this, message, length);
          return;
        }
        if (++wrong == MAX_WRONG) {
          throw new IOException("it says what was not asked");
        }
      }
    }
  }

  private final class TcpAttempt extends Attempt {
    private final ByteBuffer length = ByteBuffer.allocate(2);
    private @Nullable ByteBuffer out;
    private @Nullable ByteBuffer message;

    TcpAttempt(InetSocketAddress server) {
      super(server);
    }

    @Override
    void begin() throws IOException {
      SocketChannel opened = open(SocketChannel::open);
      byte[] question = question();
      out =
          ByteBuffer.allocate(2 + question.length)
              .putShort((short) question.length)
              .put(question)
              .flip();
      opened.configureBlocking(false);
      boolean connected = opened.connect(server);
      resolver
          .loop()
          .register(opened, connected ? SelectionKey.OP_WRITE : SelectionKey.OP_CONNECT, this);
    }

    @Override
    void read(SelectionKey key) throws IOException {
      SocketChannel opened = (SocketChannel) key.channel();
      if (key.isConnectable() && !opened.finishConnect()) {
        return;
      }
      ByteBuffer asks = out;
      if (asks != null) {
        opened.write(asks);
        key.interestOps(asks.hasRemaining() ? SelectionKey.OP_WRITE : SelectionKey.OP_READ);
        out = asks.hasRemaining() ? asks : null;
        return;
      }
      if (length.hasRemaining()) {
        receive(opened, length);
        if (length.hasRemaining()) {
          return;
        }
        message = ByteBuffer.allocate(length.getShort(0) & 0xffff);
      }
      ByteBuffer whole = message;
      if (whole != null) {
        receive(opened, whole);
        if (!whole.hasRemaining()) {
          take(this, whole.array(), whole.capacity());
        }
      }
    }

    private static void receive(SocketChannel from, ByteBuffer into) throws IOException {
      if (into.hasRemaining() && from.read(into) < 0) {
        throw new EOFException("it ends the connection");
      }
    }
  }
}
