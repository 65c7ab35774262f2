// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.AddressClassTest.ip;

import dev.nacelle.net.DnsMessage.Answer;
import java.nio.ByteBuffer;
import java.util.List;

/** A guest's stub resolver, over a played agent. */
final class DnsClient {
  static final int EDE_NONE = -1;

  private final PlayedAgent agent;
  private int lastId;

  /** What it was told. */
  record Told(
      int rcode,
      boolean cut,
      int extended,
      List<String> addresses,
      List<byte[]> data,
      long ttl,
      int size) {}

  DnsClient(PlayedAgent agent) {
    this.agent = agent;
  }

  /** A place of a resolver that nobody has, of an own port for each question. */
  private Place place(int id) {
    return new Place(ip("198.18.0.1"), 53, 20_000 + id);
  }

  /** Asks over UDP, and waits. */
  Told ask(String name, int type) throws DnsException {
    return told(send(name, type), name, type);
  }

  /** Asks over UDP. */
  int send(String name, int type) {
    int id = ++lastId;
    agent.datagram(place(id), DnsMessage.question(id, name, type));
    return id;
  }

  /** What a question that was sent was answered. */
  Told told(int id, String name, int type) throws DnsException {
    byte[] reply = reply(place(id));
    return read(reply, id, name, type);
  }

  /** Any answer from there. */
  byte[] reply(Place place) {
    return agent.await(PlayedAgent.Datagram.class, told -> told.place().equals(place)).bytes();
  }

  /** The next message of a flow. */
  Told told(int flow, int id, String name, int type) throws DnsException {
    byte[] reply = message(flow);
    return read(reply, id, name, type);
  }

  byte[] message(int flow) {
    return agent.bytes(flow, ByteBuffer.wrap(agent.bytes(flow, 2)).getShort() & 0xffff);
  }

  /** A message behind its length. */
  static byte[] framed(byte[] message) {
    return ByteBuffer.allocate(2 + message.length)
        .putShort((short) message.length)
        .put(message)
        .array();
  }

  static Told read(byte[] reply, int id, String name, int type) throws DnsException {
    Answer answer = DnsMessage.answer(reply, reply.length, id, name, type);
    return new Told(
        answer.rcode(),
        answer.truncated(),
        extended(reply),
        answer.addresses().stream().map(Object::toString).toList(),
        answer.data(),
        answer.ttl(),
        reply.length);
  }

  private static int extended(byte[] reply) throws DnsException {
    DnsReader in = new DnsReader(reply, reply.length);
    in.skip(6);
    int answers = in.u16();
    in.skip(4);
    in.name(true);
    in.skip(4);
    for (int i = 0; i < answers; i++) {
      in.name(true);
      in.skip(8);
      in.skip(in.u16());
    }
    if (in.left() == 0) {
      return EDE_NONE;
    }
    in.skip(9);
    return in.u16() < 6 ? EDE_NONE : in.u16() == 15 && in.u16() >= 2 ? in.u16() : EDE_NONE;
  }
}
