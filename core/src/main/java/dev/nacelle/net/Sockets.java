// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.StandardSocketOptions;
import java.nio.channels.Channel;
import java.nio.channels.SocketChannel;

/** How a network's sockets end. */
final class Sockets {
  private Sockets() {}

  /** Closes it; what it had is gone, whether or not the host has an error of its own with that. */
  static void close(Channel channel) {
    try {
      channel.close();
    } catch (IOException e) {
      logger().log(Level.DEBUG, "closing a socket", e);
    }
  }

  /** Closes it with a RST, where that is possible: the peer is to know that not all came. */
  static void reset(SocketChannel channel) {
    try {
      channel.setOption(StandardSocketOptions.SO_LINGER, 0);
    } catch (IOException e) {
      logger().log(Level.DEBUG, "resetting a connection", e);
    }
    close(channel);
  }

  private static System.Logger logger() {
    return System.getLogger(Sockets.class.getName());
  }
}
