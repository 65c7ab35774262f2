// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.DomainNames;
import dev.nacelle.internal.check.Ip;
import dev.nacelle.net.CompiledPolicy.Admitted;
import dev.nacelle.net.CompiledPolicy.Resolution;
import dev.nacelle.net.DnsMessage.Answer;
import dev.nacelle.net.DnsMessage.Query;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkEvent.Limit;
import dev.nacelle.network.Rate;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The resolver of one sandbox, which is at port 53 of every address, of UDP and TCP: its questions
 * end here, whoever they are for. The policy says which of them somebody is asked; what is told has
 * been pinned before. On the loop.
 */
final class DnsService {
  static final int PORT = 53;

  /** Connections at a time. */
  private static final int MAX_STREAMS = 32;

  /** Of one answer, for which there is no pin; to find that out takes a look at all pins. */
  private static final int MAX_WITHOUT_ROOM = 4;

  /** Of an address of the host's services, which the policy may change at any time. */
  private static final long SERVICE_SECONDS = 60;

  private static final String NO_RULE = "no rule of the sandbox's policy is for this name";
  private static final String DENIED = "the sandbox's policy denies this name";
  private static final String NO_RECORDS = "the sandbox's policy is without records of this type";
  private static final String PRIVATE = "the sandbox's policy is without such addresses";
  private static final String TOO_MANY = "the sandbox has asked too much just now";
  private static final String NO_ANSWER = "no name server of the host's answers";

  private final GuestLink link;
  private final Pins pins;
  private final Journal journal;
  private final Counters counters;
  private final EventSink events;
  private final Surroundings surroundings;
  private final Resolver resolver;
  private CompiledPolicy policy;
  private Rate rate;
  private TokenBucket left;
  private int streams;

  DnsService(
      NetworkLoop loop,
      GuestLink link,
      Pins pins,
      Journal journal,
      Surroundings surroundings,
      ActivePolicy active) {
    this.link = link;
    this.pins = pins;
    this.journal = journal;
    counters = journal.counters();
    events = journal.events();
    this.surroundings = surroundings;
    policy = active.compiled();
    resolver = new Resolver(loop, surroundings.nameServers());
    rate = active.policy().limits().dnsQueries();
    left = new TokenBucket(rate, System.nanoTime());
  }

  /** Has another policy from now on, also for what is being asked. */
  void update(ActivePolicy changed) {
    policy = changed.compiled();
    Rate queries = changed.policy().limits().dnsQueries();
    if (!queries.equals(rate)) {
      rate = queries;
      left = new TokenBucket(rate, System.nanoTime());
    }
  }

  /** Ends what is being asked. */
  void close() {
    resolver.close();
  }

  /** Whether there can be another connection, which is to be told to {@link #streamEnded}. */
  boolean beginStream() {
    if (streams >= MAX_STREAMS) {
      return false;
    }
    streams++;
    return true;
  }

  void streamEnded() {
    streams--;
  }

  /** A question over UDP. */
  void datagram(Place place, ByteBuffer bytes) {
    byte[] message = new byte[bytes.remaining()];
    bytes.get(message);
    ask(
        message,
        false,
        reply -> {
          if (reply == null || !link.sendDatagram(place, ByteBuffer.wrap(reply))) {
            counters.datagramDropped();
          }
        });
  }

  /**
   * A question.
   *
   * @param stream whether an answer may be of any length
   * @param reply is told the answer, or null where there is to be none: at once, or when it came
   */
  void ask(byte[] message, boolean stream, Consumer<byte @Nullable []> reply) {
    counters.dnsQuery();
    boolean isTooMuch = !left.take(System.nanoTime());
    Query query;
    try {
      query = DnsMessage.query(message, message.length);
    } catch (DnsException e) {
      if (isTooMuch) {
        limited();
      }
      reply.accept(isTooMuch ? null : DnsMessage.refusal(message, message.length, e.rcode()));
      return;
    }
    int size = stream ? DnsMessage.MAX_TCP : query.udpSize();
    String name = DomainNames.canonical(query.name());
    if (isTooMuch) {
      reply.accept(tooMuch(query));
    } else if (!query.hasKnownVersion()) {
      reply.accept(query.reply(DnsMessage.BADVERS, DnsMessage.EDE_NONE, ""));
    } else if (!query.isInternet()) {
      reply.accept(query.reply(DnsMessage.REFUSED, DnsMessage.EDE_NONE, ""));
    } else {
      byte[] known = known(query, name, size);
      if (known != null || name == null) {
        reply.accept(known);
      } else if (resolver.isFull()) {
        reply.accept(tooMuch(query));
      } else {
        resolver.ask(
            name,
            query.type(),
            outcome -> {
              reply.accept(answer(query, name, size, outcome));
              link.flush();
            });
      }
    }
  }

  private byte[] tooMuch(Query query) {
    limited();
    return query.reply(DnsMessage.REFUSED, DnsMessage.EDE_OTHER, TOO_MANY);
  }

  private void limited() {
    counters.dnsDenied(DenialReason.LIMIT);
    events.limit(Limit.DNS_QUERIES);
  }

  /** What is answered without that anybody is asked; null where somebody has to be. */
  private byte @Nullable [] known(Query query, @Nullable String name, int size) {
    Resolution resolution = policy.resolve(name, query.type());
    DenialReason reason = resolution.reason();
    if (reason != null) {
      denied(query, reason);
    }
    return switch (resolution.question()) {
      case DENIED ->
          query.reply(
              DnsMessage.NXDOMAIN,
              DnsMessage.EDE_BLOCKED,
              reason == DenialReason.RULE ? DENIED : NO_RULE);
      case EMPTY ->
          reason == null
              ? query.reply(List.of(), 0, size)
              : query.reply(DnsMessage.NOERROR, DnsMessage.EDE_BLOCKED, NO_RECORDS);
      case SERVICE -> service(query, resolution.service(), size);
      // Without IPv6 a program would wait for what cannot be connected.
      case ASK ->
          query.type() == DnsType.AAAA && !surroundings.ipv6()
              ? query.reply(List.of(), 0, size)
              : null;
    };
  }

  private byte[] service(Query query, @Nullable Ip address, int size) {
    List<Ip> addresses = address == null ? List.of() : List.of(address);
    resolved(query, addresses);
    return query.reply(data(addresses), SERVICE_SECONDS, size);
  }

  private byte[] answer(Query query, String name, int size, Resolver.Outcome outcome) {
    // The policy may have changed meanwhile.
    byte[] known = known(query, name, size);
    if (known != null) {
      return known;
    }
    Answer answer = outcome.answer();
    if (answer == null) {
      if (outcome.lacksDescriptors()) {
        events.limit(Limit.HOST_DESCRIPTORS);
      }
      events.tell(
          time ->
              new NetworkEvent.NameFailed(
                  events.sandboxId(), time, name, query.type(), outcome.failure()));
      return query.reply(DnsMessage.SERVFAIL, DnsMessage.EDE_NETWORK_ERROR, NO_ANSWER);
    }
    if (answer.rcode() == DnsMessage.NXDOMAIN) {
      resolved(query, List.of());
      return query.reply(DnsMessage.NXDOMAIN, DnsMessage.EDE_NONE, "");
    }
    long ttl = Math.min(answer.ttl(), Pins.LONGEST_SECONDS);
    if (query.type() != DnsType.A && query.type() != DnsType.AAAA) {
      return query.reply(answer.data(), ttl, size);
    }
    return addresses(query, name, size, answer.addresses(), ttl);
  }

  private byte[] addresses(Query query, String name, int size, List<Ip> addresses, long ttl) {
    Admitted admitted = policy.admit(name, addresses, surroundings.isHosts());
    List<Ip> told = new ArrayList<>(admitted.addresses().size());
    int withoutRoom = 0;
    for (Ip address : admitted.addresses()) {
      if (pins.pin(name, address, ttl)) {
        told.add(address);
      } else if (++withoutRoom == MAX_WITHOUT_ROOM) {
        break;
      }
    }
    DenialReason reason = admitted.reason();
    if (reason != null) {
      denied(query, reason);
    }
    if (told.isEmpty() && !admitted.addresses().isEmpty()) {
      limited();
      return query.reply(DnsMessage.SERVFAIL, DnsMessage.EDE_OTHER, TOO_MANY);
    }
    if (told.isEmpty() && reason != null) {
      return query.reply(DnsMessage.NOERROR, DnsMessage.EDE_BLOCKED, PRIVATE);
    }
    resolved(query, told);
    return query.reply(data(told), ttl, size);
  }

  private static List<byte[]> data(List<Ip> addresses) {
    return addresses.stream().map(Ip::bytes).toList();
  }

  private void resolved(Query query, List<Ip> addresses) {
    events.tell(
        time ->
            new NetworkEvent.NameResolved(
                events.sandboxId(),
                time,
                query.name(),
                addresses.stream().map(Ip::toInetAddress).toList()));
  }

  private void denied(Query query, DenialReason reason) {
    counters.dnsDenied(reason);
    journal.denials().name(query.name(), query.type(), reason);
    events.tell(
        time ->
            new NetworkEvent.NameDenied(
                events.sandboxId(), time, query.name(), query.type(), reason));
  }
}
