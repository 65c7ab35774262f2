// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Arrays;

/**
 * What the probe's {@code tcp-*} talk to: a server on loopback that does what the first byte of a
 * connection says (guest-agent/tests/isolation_probe.rs). Whoever can connect to loopback can use
 * it; it holds nothing.
 */
final class EchoServer implements AutoCloseable {
  private static final int PIECE = 64 << 10;
  private static final int LENGTH_BYTES = 8;

  private final ServerSocket listener;

  EchoServer() throws IOException {
    listener = new ServerSocket(0, 64, InetAddress.getByAddress(new byte[] {127, 0, 0, 1}));
    thread("isolation-server", this::accept).start();
  }

  private static Thread thread(String name, Runnable work) {
    Thread thread = new Thread(work, name);
    thread.setDaemon(true);
    return thread;
  }

  InetSocketAddress address() {
    return new InetSocketAddress(listener.getInetAddress(), listener.getLocalPort());
  }

  private void accept() {
    while (!listener.isClosed()) {
      try {
        Socket socket = listener.accept();
        thread("isolation-connection", () -> serve(socket)).start();
      } catch (IOException e) {
        // Closed, or a client that has gone already.
      }
    }
  }

  private static void serve(Socket socket) {
    try (socket) {
      socket.setTcpNoDelay(true);
      InputStream in = socket.getInputStream();
      OutputStream out = socket.getOutputStream();
      byte[] buffer = new byte[PIECE];
      Arrays.fill(buffer, (byte) 0x5a);
      switch (in.read()) {
        case 'e' -> {
          for (int read = in.read(buffer); read > 0; read = in.read(buffer)) {
            out.write(buffer, 0, read);
          }
        }
        case 'u' -> {
          long left = length(in);
          while (left > 0) {
            int read = in.read(buffer, 0, (int) Math.min(left, buffer.length));
            if (read < 0) {
              throw new EOFException();
            }
            left -= read;
          }
          out.write(1);
        }
        case 'd' -> {
          for (long left = length(in); left > 0; left -= buffer.length) {
            out.write(buffer, 0, (int) Math.min(left, buffer.length));
          }
        }
        default -> {}
      }
    } catch (IOException e) {
      // The client's to notice.
    }
  }

  private static long length(InputStream in) throws IOException {
    byte[] bytes = new byte[LENGTH_BYTES];
    new DataInputStream(in).readFully(bytes);
    long length = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) {
      length = length << 8 | bytes[i] & 0xff;
    }
    return length;
  }

  @Override
  public void close() throws IOException {
    listener.close();
  }
}
