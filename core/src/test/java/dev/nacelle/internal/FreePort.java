// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.io.IOException;
import java.net.BindException;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.SocketException;
import java.util.concurrent.ThreadLocalRandom;

/** Ports of the loopback interface that nobody has, and that no system gives out by default. */
public final class FreePort {
  private static final int FIRST = 10_000;

  /** From here on, systems choose a port for who asks for none. */
  private static final int END = 32_768;

  private FreePort() {}

  /** One over TCP and UDP. */
  public static int find() throws IOException {
    InetAddress localhost = InetAddress.getLoopbackAddress();
    for (int i = 0; i < 1000; i++) {
      int port = ThreadLocalRandom.current().nextInt(FIRST, END);
      try (ServerSocket tcp = new ServerSocket(port, 1, localhost);
          DatagramSocket udp = new DatagramSocket(port, localhost)) {
        return port;
      } catch (SocketException e) {
        // Somebody has it.
      }
    }
    throw new BindException("no port is free");
  }
}
