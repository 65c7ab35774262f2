// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.DomainNames;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import org.jspecify.annotations.Nullable;

/**
 * The name in a TLS handshake's first message (RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section
 * 3), as it comes, however it is cut into records and pieces. What is malformed is refused, rather
 * than read as one server might: another could read it otherwise.
 *
 * <p>With an encrypted ClientHello (RFC 9849) the name that is found is the outer one: whose server
 * is to decrypt. The inner one, which that server serves, cannot be seen, and an extension that
 * hides nothing ("GREASE") looks the same. So it is told that the name {@linkplain #mayHideName()
 * may hide another}, and who asks decides.
 *
 * <p>A server may ask for a second one (RFC 8446 section 4.1.4), and not every server looks whether
 * it names the same. So what comes behind the first waits for the {@linkplain Answer server's
 * answer}; where that asks, {@link #second()} reads what the client sends then.
 *
 * <p>Keeps at most {@link #MAX_BYTES}, and no more than came.
 */
final class ClientHello {
  /** What a client may send up to the end of the message, with records' headers. */
  static final int MAX_BYTES = 16 << 10;

  private static final int RECORD_HEADER = 5;
  private static final int RECORD_CHANGE_CIPHER_SPEC = 20;
  private static final int RECORD_HANDSHAKE = 22;
  private static final int RECORD_DATA = 23;
  private static final int RECORD_MAJOR = 3;

  /** RFC 8446 section 5.1: of a fragment. */
  private static final int MAX_FRAGMENT = 1 << 14;

  private static final int MESSAGE_HEADER = 4;
  private static final int CLIENT_HELLO = 1;
  private static final int RANDOM = 32;
  private static final int MAX_SESSION_ID = 32;
  private static final int SERVER_NAME = 0;
  private static final int HOST_NAME = 0;

  /** Encrypted ClientHello: of RFC 9849, and of its drafts from 8 on. */
  private static final int FIRST_ECH = 0xfe08;

  private static final int LAST_ECH = 0xfe0d;

  /** Encrypted SNI, which was before it. */
  private static final int ESNI = 0xffce;

  /** What has become of it. */
  enum State {
    /** It is not whole. */
    MORE,
    /** It is read. */
    DONE,
    /** It is none. */
    REFUSED
  }

  private final boolean isSecond;
  private final byte[] header = new byte[RECORD_HEADER];
  private int headerBytes;

  /** Of a record that stands before a second one. */
  private int skipped;

  /** Of the record. */
  private int fragmentLeft;

  private byte[] message = new byte[512];
  private int messageBytes;
  private int total;
  private State state = State.MORE;
  private String fault = "";
  private @Nullable String serverName;
  private boolean mayHideName;

  ClientHello() {
    this(false);
  }

  private ClientHello(boolean isSecond) {
    this.isSecond = isSecond;
  }

  /**
   * The one that a client sends when it was asked for another. Before it may stand what RFC 8446
   * sections 4.2.10 and D.4 let stand there: a change of ciphers that changes nothing, and early
   * data that the server has refused.
   */
  static ClientHello second() {
    return new ClientHello(true);
  }

  /** What it keeps the message in, in bytes. */
  int memory() {
    return message.length;
  }

  boolean isSecond() {
    return isSecond;
  }

  /** Takes what came next; what is behind the message's end is left. */
  State feed(ByteBuffer in) {
    while (state == State.MORE && in.hasRemaining()) {
      if (skipped > 0) {
        int count = Math.min(skipped, in.remaining());
        in.position(in.position() + count);
        skipped -= count;
      } else if (total == MAX_BYTES) {
        refuse("a ClientHello of more than " + MAX_BYTES + " bytes");
      } else if (fragmentLeft == 0) {
        header[headerBytes++] = in.get();
        total++;
        if (headerBytes == 1 && header[0] != RECORD_HANDSHAKE && !maySkip()
            || headerBytes == 2 && header[1] != RECORD_MAJOR) {
          refuse("not a TLS handshake");
        } else if (headerBytes == RECORD_HEADER) {
          beginFragment();
        }
      } else {
        take(in);
      }
    }
    return state;
  }

  private boolean maySkip() {
    return isSecond
        && messageBytes == 0
        && (header[0] == RECORD_CHANGE_CIPHER_SPEC || header[0] == RECORD_DATA);
  }

  private void beginFragment() {
    headerBytes = 0;
    int length = (header[3] & 0xff) << 8 | header[4] & 0xff;
    if (maySkip()) {
      skipped = length;
      total -= RECORD_HEADER; // as long as they come: a guest is not kept from sending nothing
    } else if (length == 0 || length > MAX_FRAGMENT) {
      refuse("a TLS record of " + length + " bytes");
    } else {
      fragmentLeft = length;
    }
  }

  private void take(ByteBuffer in) {
    int wanted = messageBytes < MESSAGE_HEADER ? MESSAGE_HEADER : MESSAGE_HEADER + length();
    int count =
        Math.min(
            Math.min(in.remaining(), fragmentLeft),
            Math.min(wanted - messageBytes, MAX_BYTES - total));
    if (message.length < messageBytes + count) {
      message = Arrays.copyOf(message, Math.max(2 * message.length, messageBytes + count));
    }
    in.get(message, messageBytes, count);
    messageBytes += count;
    fragmentLeft -= count;
    total += count;
    if (messageBytes < wanted) {
      return;
    }
    if (wanted == MESSAGE_HEADER && (message[0] != CLIENT_HELLO || length() == 0)) {
      refuse("not a ClientHello");
    } else if (wanted == MESSAGE_HEADER && length() > MAX_BYTES) {
      refuse("a ClientHello of more than " + MAX_BYTES + " bytes");
    } else if (wanted > MESSAGE_HEADER && fragmentLeft > 0) {
      refuse("more than a ClientHello in its record");
    } else if (wanted > MESSAGE_HEADER) {
      read(new Body(message, MESSAGE_HEADER, messageBytes));
    }
  }

  private int length() {
    return (message[1] & 0xff) << 16 | (message[2] & 0xff) << 8 | message[3] & 0xff;
  }

  private void refuse(String why) {
    state = State.REFUSED;
    fault = why;
    serverName = null;
    message = new byte[0];
  }

  /** Reads within bounds; once something is beyond them, all that follows is nothing. */
  private static final class Body {
    private final byte[] bytes;
    private final int end;
    private int at;
    private boolean broken;

    Body(byte[] bytes, int from, int end) {
      this.bytes = bytes;
      this.at = from;
      this.end = end;
    }

    int number(int octets) {
      if (end - at < octets) {
        broken = true;
        at = end;
        return 0;
      }
      int value = 0;
      for (int i = 0; i < octets; i++) {
        value = value << 8 | bytes[at++] & 0xff;
      }
      return value;
    }

    Body part(int length) {
      if (length > end - at) {
        broken = true;
        at = end;
        return new Body(bytes, end, end);
      }
      at += length;
      return new Body(bytes, at - length, at);
    }

    boolean hasMore() {
      return at < end;
    }
  }

  private void read(Body hello) {
    hello.part(2 + RANDOM); // legacy_version, which a server may take for more or less
    int session = hello.number(1);
    hello.part(session);
    int suites = hello.number(2);
    hello.part(suites);
    int compressions = hello.number(1);
    hello.part(compressions);
    if (hello.broken
        || session > MAX_SESSION_ID
        || suites < 2
        || suites % 2 != 0
        || compressions == 0) {
      refuse("a malformed ClientHello");
      return;
    }
    if (hello.hasMore()) {
      Body extensions = hello.part(hello.number(2));
      if (hello.broken || hello.hasMore() || !readExtensions(extensions)) {
        refuse("a ClientHello with malformed extensions");
        return;
      }
    }
    state = State.DONE;
    message = new byte[0];
  }

  private boolean readExtensions(Body extensions) {
    boolean named = false;
    while (extensions.hasMore()) {
      int type = extensions.number(2);
      Body extension = extensions.part(extensions.number(2));
      if (type == SERVER_NAME) {
        if (named || !readNames(extension)) {
          return false;
        }
        named = true;
      } else if (type >= FIRST_ECH && type <= LAST_ECH || type == ESNI) {
        mayHideName = true;
      }
    }
    return !extensions.broken;
  }

  /** One name of one kind, as clients send them; there has never been another kind. */
  private boolean readNames(Body extension) {
    Body names = extension.part(extension.number(2));
    int kind = names.number(1);
    Body name = names.part(names.number(2));
    if (extension.broken
        || extension.hasMore()
        || names.broken
        || names.hasMore()
        || kind != HOST_NAME
        || !name.hasMore()) {
      return false;
    }
    String text = new String(name.bytes, name.at, name.end - name.at, StandardCharsets.ISO_8859_1);
    serverName = DomainNames.canonical(text);
    return true;
  }

  /** Its name in canonical form; null where it has none, or what is no host's name. */
  @Nullable String serverName() {
    return serverName;
  }

  /** Whether the name that is meant may be another, which is encrypted. */
  boolean mayHideName() {
    return mayHideName;
  }

  /** Why it was refused; empty where it was not. */
  String fault() {
    return fault;
  }

  /** Whether a server asks for a second ClientHello. It looks, and takes nothing. */
  static final class Answer {
    private static final int SERVER_HELLO = 2;

    /** Type and length of the message, legacy_version, and the random. */
    private static final int LOOKED_AT = MESSAGE_HEADER + 2 + RANDOM;

    /**
     * RFC 8446 section 4.1.3: SHA-256 of "HelloRetryRequest", in place of a ServerHello's random.
     */
    private static final byte[] RETRY =
        HexFormat.of().parseHex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c");

    private final byte[] seen = new byte[LOOKED_AT];
    private int seenBytes;
    private int recordAt;
    private int fragmentLeft;
    private Next next = Next.MORE;

    /** What becomes of what the client sends. */
    enum Next {
      /** It is not known yet: it waits. */
      MORE,
      /** It is a second ClientHello, to be looked at. */
      SECOND,
      /** It passes. */
      PASS
    }

    /** Looks at what the server sent next. */
    Next feed(ByteBuffer in) {
      for (int i = in.position(); i < in.limit() && next == Next.MORE; i++) {
        int octet = in.get(i) & 0xff;
        if (recordAt < RECORD_HEADER) {
          header(octet);
        } else {
          look(octet);
        }
      }
      return next;
    }

    private void header(int octet) {
      switch (recordAt++) {
        case 0 -> next = octet == RECORD_HANDSHAKE ? Next.MORE : Next.PASS;
        case 3 -> fragmentLeft = octet << 8;
        case 4 -> {
          fragmentLeft |= octet;
          recordAt = fragmentLeft == 0 ? 0 : RECORD_HEADER;
        }
        default -> {
          // the version, which says nothing
        }
      }
    }

    private void look(int octet) {
      seen[seenBytes++] = (byte) octet;
      recordAt = --fragmentLeft == 0 ? 0 : RECORD_HEADER;
      if (seen[0] != SERVER_HELLO) {
        next = Next.PASS;
      } else if (seenBytes == LOOKED_AT) {
        boolean asks = Arrays.equals(seen, LOOKED_AT - RANDOM, LOOKED_AT, RETRY, 0, RETRY.length);
        next = asks ? Next.SECOND : Next.PASS;
      }
    }
  }
}
