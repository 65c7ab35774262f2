// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.net.Frames.Refusal;
import java.net.ConnectException;
import java.net.NoRouteToHostException;
import java.net.SocketException;
import java.nio.channels.UnresolvedAddressException;
import java.util.Locale;

/** What is to be told of a connection that the host could not make. */
final class ConnectFailure {
  private ConnectFailure() {}

  /** For people. */
  static String inWords(Exception why) {
    if (why instanceof UnresolvedAddressException) {
      return "the upstream proxy's name has no address";
    }
    String message = why.getMessage();
    return message == null ? why.getClass().getSimpleName() : message;
  }

  /**
   * For the guest's program. The JDK has no type for each: it is its text, which is the C library's
   * in English or Winsock's through the JDK's own table.
   */
  static Refusal of(Exception why) {
    String message = String.valueOf(why.getMessage()).toLowerCase(Locale.ROOT);
    if (message.contains("network is unreachable")) {
      return Refusal.NET_UNREACHABLE;
    }
    if (why instanceof NoRouteToHostException) {
      return Refusal.HOST_UNREACHABLE;
    }
    if (why instanceof ConnectException) {
      return message.contains("timed out") ? Refusal.TIMEOUT : Refusal.REFUSED;
    }
    return why instanceof SocketException && message.contains("unreachable")
        ? Refusal.NET_UNREACHABLE
        : Refusal.HOST_UNREACHABLE;
  }
}
