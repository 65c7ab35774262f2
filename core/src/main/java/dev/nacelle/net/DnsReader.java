// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import java.util.Arrays;

/**
 * Reads the parts of a DNS message of somebody who is not trusted, RFC 1035 section 4.1. Every read
 * is within the message. A compressed name is followed backwards only, so that it ends.
 */
final class DnsReader {
  private static final int POINTER = 0xc0;
  private static final int MAX_LABEL = 63;

  /** Of a name on the wire, with the root. */
  private static final int MAX_NAME = 255;

  /** In a name: as many as it can have labels. */
  private static final int MAX_POINTERS = 127;

  private final byte[] message;
  private final int end;
  private int at;

  /**
   * @param message of which the first bytes are read
   * @param length how many
   */
  DnsReader(byte[] message, int length) {
    this.message = message;
    end = length;
  }

  int position() {
    return at;
  }

  int u8() throws DnsException {
    need(1);
    return message[at++] & 0xff;
  }

  int left() {
    return end - at;
  }

  int u16() throws DnsException {
    return u8() << 8 | u8();
  }

  long u32() throws DnsException {
    return (long) u16() << 16 | u16();
  }

  byte[] bytes(int count) throws DnsException {
    need(count);
    byte[] bytes = Arrays.copyOfRange(message, at, at + count);
    at += count;
    return bytes;
  }

  void skip(int count) throws DnsException {
    need(count);
    at += count;
  }

  private void need(int count) throws DnsException {
    if (count < 0 || count > end - at) {
      throw new DnsException("it ends too early");
    }
  }

  /**
   * A name on the wire as text: labels in lower case with dots between them. What is no letter,
   * digit, hyphen or underscore is {@code \ddd}, as in RFC 1035 section 5.1, so that two names are
   * the same text only when they are the same name. The root is empty.
   *
   * @param compressed whether it may point back
   */
  String name(boolean compressed) throws DnsException {
    StringBuilder name = new StringBuilder();
    int length = 1;
    int from = at;
    int before = at;
    int behind = -1;
    int pointersLeft = MAX_POINTERS;
    for (int label = label(from); label != 0; label = label(from)) {
      if (label >= POINTER) {
        int target = (label & ~POINTER) << 8 | byteAt(from + 1);
        // To what is before all that was read of it: a pointer forwards or to itself could go
        // round.
        if (!compressed || target >= before || --pointersLeft < 0) {
          throw new DnsException("a name points where it must not");
        }
        behind = behind < 0 ? from + 2 : behind;
        before = target;
        from = target;
        continue;
      }
      length += label + 1;
      if (length > MAX_NAME) {
        throw new DnsException("a name is too long");
      }
      if (name.length() > 0) {
        name.append('.');
      }
      for (int i = 1; i <= label; i++) {
        append(name, byteAt(from + i));
      }
      from += label + 1;
    }
    at = behind < 0 ? from + 1 : behind;
    return name.toString();
  }

  private int label(int position) throws DnsException {
    int label = byteAt(position);
    if (label > MAX_LABEL && label < POINTER) {
      throw new DnsException("a label is of an unknown kind");
    }
    return label;
  }

  private int byteAt(int position) throws DnsException {
    if (position >= end) {
      throw new DnsException("it ends too early");
    }
    return message[position] & 0xff;
  }

  private static void append(StringBuilder name, int octet) {
    char c = (char) (octet >= 'A' && octet <= 'Z' ? octet + ('a' - 'A') : octet);
    if (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
      name.append(c);
    } else {
      name.append('\\')
          .append((char) ('0' + octet / 100))
          .append((char) ('0' + octet / 10 % 10))
          .append((char) ('0' + octet % 10));
    }
  }
}
