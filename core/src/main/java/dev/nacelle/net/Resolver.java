// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.net.DnsMessage.Answer;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Asks name servers for one sandbox. Nothing is kept of an answer, and a question that is asked
 * twice is asked twice. On the loop.
 *
 * <p>Who does not see a question is not to answer it (RFC 5452): each is sent from a socket and a
 * port of its own, with a number that cannot be guessed, and only what comes from where it was sent
 * to is looked at.
 */
final class Resolver {
  /** Questions at a time, each of which has at most {@link Inquiry#TRIES} sockets. */
  static final int MOST = 64;

  private final NetworkLoop loop;
  private final NameServers nameServers;
  private final SecureRandom random = new SecureRandom();
  private final ByteBuffer buffer = ByteBuffer.allocate(4096);
  private final Set<Inquiry> inquiries = new HashSet<>();

  /** Who has answered last. */
  private @Nullable InetSocketAddress proven;

  private boolean closed;

  /**
   * What came of a question.
   *
   * @param answer NOERROR or NXDOMAIN; null where there is none
   * @param failure why there is none, in words
   * @param lacksDescriptors whether that is since the host had no socket
   */
  record Outcome(@Nullable Answer answer, String failure, boolean lacksDescriptors) {}

  Resolver(NetworkLoop loop, NameServers nameServers) {
    this.loop = loop;
    this.nameServers = nameServers;
  }

  /** Whether so many are asked that no other can be. */
  boolean isFull() {
    return inquiries.size() >= MOST;
  }

  /**
   * Asks, where it is not full.
   *
   * @param name in canonical form
   * @param then is told what came of it, within three times the servers' patience, and never before
   *     this returns; not at all after {@link #close()}
   */
  void ask(String name, int type, Consumer<Outcome> then) {
    if (closed) {
      return;
    }
    Inquiry inquiry = new Inquiry(this, name, type, then);
    inquiries.add(inquiry);
    loop.execute(inquiry::next);
  }

  /** Nobody is asked any more, and nobody told. */
  void close() {
    closed = true;
    new ArrayList<>(inquiries).forEach(Inquiry::close);
  }

  // -- For questions

  NetworkLoop loop() {
    return loop;
  }

  SecureRandom random() {
    return random;
  }

  /** For what a socket has received, until the next is read. */
  ByteBuffer buffer() {
    return buffer;
  }

  /** How long one is waited for before the next is asked, too. */
  Duration patience() {
    return nameServers.patience();
  }

  /** Those that there are, from the one that has answered last on. */
  List<InetSocketAddress> servers() {
    List<InetSocketAddress> all = nameServers.servers();
    InetSocketAddress server = proven;
    int first = server == null ? 0 : all.indexOf(server);
    if (first <= 0) {
      return all;
    }
    List<InetSocketAddress> turned = new ArrayList<>(all.subList(first, all.size()));
    turned.addAll(all.subList(0, first));
    return turned;
  }

  void answered(InetSocketAddress server) {
    proven = server;
  }

  void ended(Inquiry inquiry) {
    inquiries.remove(inquiry);
  }
}
