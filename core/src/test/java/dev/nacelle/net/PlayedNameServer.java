// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.net.DnsMessage.Query;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.BindException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * A name server of a test's, over UDP and TCP on one port of this machine: answers by a table, or
 * as the test says; others do not exist. It keeps what it was asked.
 */
public final class PlayedNameServer implements AutoCloseable {
  private final DatagramSocket udp;
  private final ServerSocket tcp;
  private final Map<String, Answering> table = new ConcurrentHashMap<>();
  private final List<Asked> asked = new CopyOnWriteArrayList<>();
  private final List<Socket> connections = new CopyOnWriteArrayList<>();

  /**
   * A question.
   *
   * @param from who asks, over UDP; null over TCP
   */
  record Asked(String name, int type, boolean tcp, byte[] message, InetSocketAddress from) {
    int id() {
      return (message[0] & 0xff) << 8 | message[1] & 0xff;
    }

    boolean edns() {
      return message[11] == 1;
    }
  }

  /** A record of an answer. */
  record Entry(String owner, int type, long ttl, byte[] data) {
    static Entry alias(String owner, String target) {
      return new Entry(owner, DnsType.CNAME, 60, new DnsWriter().name(target).toByteArray());
    }

    static Entry address(String owner, String address, long ttl) {
      byte[] bytes = address(address);
      return new Entry(owner, bytes.length == 4 ? DnsType.A : DnsType.AAAA, ttl, bytes);
    }

    /** As it is on the wire: one that is mapped is not changed. */
    private static byte[] address(String text) {
      if (text.startsWith("::ffff:")) {
        byte[] mapped = new byte[16];
        mapped[10] = -1;
        mapped[11] = -1;
        System.arraycopy(AddressClassTest.ip(text).bytes(), 0, mapped, 12, 4);
        return mapped;
      }
      return AddressClassTest.ip(text).bytes();
    }
  }

  /** What is answered; nothing, one message or several. */
  interface Answering {
    List<byte[]> answer(Asked asked) throws IOException;
  }

  public PlayedNameServer() throws IOException {
    DatagramSocket datagrams = null;
    ServerSocket connections = null;
    while (connections == null) {
      datagrams = new DatagramSocket(0, InetAddress.getLoopbackAddress());
      try {
        connections =
            new ServerSocket(datagrams.getLocalPort(), 50, InetAddress.getLoopbackAddress());
      } catch (BindException e) {
        datagrams.close();
      }
    }
    udp = datagrams;
    tcp = connections;
    start(this::serveDatagrams);
    start(this::serveConnections);
  }

  private interface Work {
    void run() throws IOException, DnsException;
  }

  private static void start(Work work) {
    Thread thread =
        new Thread(
            () -> {
              try {
                work.run();
              } catch (SocketException | EOFException e) {
                // It was closed.
              } catch (IOException | DnsException e) {
                throw new AssertionError(e);
              }
            },
            "name-server");
    thread.setDaemon(true);
    thread.start();
  }

  private void serveDatagrams() throws IOException, DnsException {
    while (true) {
      DatagramPacket packet = new DatagramPacket(new byte[4096], 4096);
      udp.receive(packet);
      byte[] message = Arrays.copyOf(packet.getData(), packet.getLength());
      InetSocketAddress from = (InetSocketAddress) packet.getSocketAddress();
      for (byte[] answer : answers(message, from)) {
        udp.send(new DatagramPacket(answer, answer.length, from));
      }
    }
  }

  private void serveConnections() throws IOException {
    while (true) {
      Socket connection = tcp.accept();
      connections.add(connection);
      start(
          () -> {
            try (connection) {
              DataInputStream in = new DataInputStream(connection.getInputStream());
              DataOutputStream out = new DataOutputStream(connection.getOutputStream());
              while (true) {
                byte[] message = new byte[in.readUnsignedShort()];
                in.readFully(message);
                for (byte[] answer : answers(message, null)) {
                  out.writeShort(answer.length);
                  out.write(answer);
                }
              }
            }
          });
    }
  }

  private List<byte[]> answers(byte[] message, InetSocketAddress from)
      throws IOException, DnsException {
    Query query = DnsMessage.query(message, message.length);
    Asked question = new Asked(query.name(), query.type(), from == null, message, from);
    asked.add(question);
    Answering answering = table.get(query.name() + " " + query.type());
    return answering == null
        ? List.of(answer(question, DnsMessage.NXDOMAIN, false))
        : answering.answer(question);
  }

  /** An answer to it. */
  static byte[] answer(Asked asked, int rcode, boolean cut, Entry... entries) {
    DnsWriter out = new DnsWriter();
    out.u16(asked.id()).u16(0x8180 | (cut ? 0x0200 : 0) | rcode);
    out.u16(1).u16(entries.length).u16(0).u16(0);
    out.name(asked.name()).u16(asked.type()).u16(1);
    for (Entry entry : entries) {
      out.name(entry.owner()).u16(entry.type()).u16(1).u32(entry.ttl());
      out.u16(entry.data().length).bytes(entry.data());
    }
    return out.toByteArray();
  }

  /** Answers a question in that way from now on. */
  PlayedNameServer answers(String name, int type, Answering how) {
    table.put(name + " " + type, how);
    return this;
  }

  /** Has these records from now on, of one name and type, with what leads there. */
  PlayedNameServer has(String name, int type, Entry... entries) {
    return answers(name, type, asked -> List.of(answer(asked, DnsMessage.NOERROR, false, entries)));
  }

  /** Has an address from now on, for 60 seconds. */
  public PlayedNameServer has(String name, String address) {
    Entry entry = Entry.address(name, address, 60);
    return has(name, entry.type(), entry);
  }

  /** Is asked by such a question and says nothing, from now on. */
  PlayedNameServer silent(String name, int type) {
    return answers(name, type, asked -> List.of());
  }

  public InetSocketAddress address() {
    return (InetSocketAddress) udp.getLocalSocketAddress();
  }

  /** The names that it was asked for, in their order. */
  public List<String> names() {
    return asked.stream().map(Asked::name).toList();
  }

  /** All that it was asked. */
  List<Asked> asked() {
    return asked;
  }

  /** Connections that are open at its end. */
  long open() {
    return connections.stream().filter(connection -> !connection.isClosed()).count();
  }

  /** Sends somebody a datagram from its port. */
  void send(byte[] message, InetSocketAddress to) throws IOException {
    udp.send(new DatagramPacket(message, message.length, to));
  }

  @Override
  public void close() throws IOException {
    udp.close();
    tcp.close();
    for (Socket connection : connections) {
      connection.close();
    }
  }
}
