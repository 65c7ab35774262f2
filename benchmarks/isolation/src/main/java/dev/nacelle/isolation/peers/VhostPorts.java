// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.peers;

import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;

/**
 * Ports of the host that machines with vhost's sockets have in common: a connection is its
 * machine's by the guest's context identifier. Safe for use from several threads.
 */
final class VhostPorts implements AutoCloseable {
  private final SocketLoop loop;
  private final Map<Integer, Port> ports = new HashMap<>();

  private final class Port {
    final HostSocket socket;
    final Map<Integer, Consumer<HostSocket.Accepted>> guests = new HashMap<>();
    long key;

    Port(HostSocket socket) {
      this.socket = socket;
    }
  }

  VhostPorts(SocketLoop loop) {
    this.loop = loop;
  }

  /**
   * Accepts a guest's connections to a port.
   *
   * @throws IllegalStateException when that is done already
   * @throws IOException when another process has that port
   */
  synchronized void listen(int cid, int number, Consumer<HostSocket.Accepted> onConnect)
      throws IOException {
    Port port = ports.get(number);
    if (port == null) {
      Port opened = new Port(HostSocket.listen(HostSocket.Address.ofHost(number)));
      try {
        opened.key = loop.add(opened.socket, () -> accept(opened));
      } catch (IOException e) {
        opened.socket.close();
        throw e;
      }
      ports.put(number, opened);
      port = opened;
    }
    if (port.guests.putIfAbsent(cid, onConnect) != null) {
      throw new IllegalStateException("port " + number + " is being listened to already");
    }
  }

  /** Takes that back. */
  synchronized void stop(int cid, int number) {
    Port port = ports.get(number);
    if (port != null && port.guests.remove(cid) != null && port.guests.isEmpty()) {
      close(port);
      ports.remove(number);
    }
  }

  private void accept(Port port) {
    try {
      for (HostSocket.Accepted one = port.socket.accept();
          one != null;
          one = port.socket.accept()) {
        Consumer<HostSocket.Accepted> guest;
        synchronized (this) {
          guest = port.guests.get(one.cid());
        }
        if (guest == null) {
          one.socket().close();
        } else {
          guest.accept(one);
        }
      }
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private void close(Port port) {
    loop.forget(port.key);
    port.socket.close();
  }

  @Override
  public synchronized void close() {
    ports.values().forEach(this::close);
    ports.clear();
  }
}
