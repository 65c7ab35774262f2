// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Ip;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.charset.StandardCharsets;

/**
 * Has an HTTP proxy connect to where a flow leads (CONNECT, RFC 9110 section 9.3.6), on a channel
 * that is connected to the proxy and does not block.
 */
final class ProxyTunnel {
  /** Of its answer's head. */
  private static final int MAX_HEAD = 8 << 10;

  private static final String END = "\r\n\r\n";

  private final ByteBuffer request;
  private final ByteBuffer head = ByteBuffer.allocate(MAX_HEAD);

  /** Of what its head ends with, how much was read last. */
  private int matched;

  ProxyTunnel(Ip target, int port) {
    String authority = (target.v6() ? "[" + target + "]" : target.toString()) + ":" + port;
    request =
        StandardCharsets.US_ASCII.encode(
            "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + END);
  }

  /** Sends what was not sent yet; whether that is all. */
  boolean send(ByteChannel channel) throws IOException {
    channel.write(request);
    return !request.hasRemaining();
  }

  /**
   * Reads on in the answer, and nothing behind it: that is the server's.
   *
   * @return whether there is a way to the server; false where it is not known yet
   * @throws IOException when there is none
   */
  boolean receive(ByteChannel channel) throws IOException {
    while (matched < END.length()) {
      if (!head.hasRemaining()) {
        throw new IOException("the proxy's answer is of more than " + MAX_HEAD + " bytes");
      }
      int from = head.position();
      // So many at least are missing.
      head.limit(Math.min(from + END.length() - matched, MAX_HEAD));
      int count = channel.read(head);
      head.limit(MAX_HEAD);
      if (count < 0) {
        throw new IOException("the proxy has ended the connection");
      }
      if (count == 0) {
        return false;
      }
      for (int i = from; i < head.position(); i++) {
        match(head.get(i));
      }
    }
    String answer = new String(head.array(), 0, head.position(), StandardCharsets.ISO_8859_1);
    String status = answer.substring(0, answer.indexOf("\r\n"));
    if (!status.matches("HTTP/1\\.\\d 2\\d\\d.*")) {
      String legible = status.replaceAll("[^ -~]", "?");
      throw new IOException(
          "the proxy answers " + legible.substring(0, Math.min(100, legible.length())));
    }
    return true;
  }

  private void match(byte octet) {
    if (octet == END.charAt(matched)) {
      matched++;
    } else {
      matched = octet == '\r' ? 1 : 0;
    }
  }
}
