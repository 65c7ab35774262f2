// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;

/** Writes the parts of a DNS message, RFC 1035 section 4.1. No name is compressed. */
final class DnsWriter {
  private final ByteArrayOutputStream out = new ByteArrayOutputStream(512);

  DnsWriter u8(int value) {
    out.write(value);
    return this;
  }

  DnsWriter u16(int value) {
    return u8(value >>> 8).u8(value);
  }

  DnsWriter u32(long value) {
    return u16((int) (value >>> 16)).u16((int) value);
  }

  DnsWriter bytes(byte[] bytes) {
    out.writeBytes(bytes);
    return this;
  }

  DnsWriter ascii(String text) {
    return bytes(text.getBytes(StandardCharsets.US_ASCII));
  }

  /** A name as {@link DnsReader#name} reads it. */
  DnsWriter name(String name) {
    ByteArrayOutputStream label = new ByteArrayOutputStream();
    for (int i = 0; i < name.length(); i++) {
      char c = name.charAt(i);
      if (c == '.') {
        end(label);
      } else if (c == '\\') {
        label.write(Integer.parseInt(name, i + 1, i + 4, 10));
        i += 3;
      } else {
        label.write(c);
      }
    }
    if (label.size() > 0) {
      end(label);
    }
    return u8(0);
  }

  private void end(ByteArrayOutputStream label) {
    u8(label.size()).bytes(label.toByteArray());
    label.reset();
  }

  int length() {
    return out.size();
  }

  byte[] toByteArray() {
    return out.toByteArray();
  }
}
