// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.boot;

import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.function.BooleanSupplier;

/** Listens on AF_VSOCK (vsock(7)), which Java has no sockets for. */
final class VsockListener implements AutoCloseable {
  static {
    Native.register(VsockListener.class, NativeLibrary.getProcess());
  }

  private static final int AF_VSOCK = 40;
  private static final int SOCK_STREAM = 1;
  private static final int SOCK_CLOEXEC = 0x80000;
  private static final int VMADDR_CID_ANY = -1;
  private static final int SOCKADDR_VM_SIZE = 16;
  private static final short POLLIN = 1;
  private static final int BACKLOG = 8;

  private final int fd;

  VsockListener(int port) {
    fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    // struct sockaddr_vm: family, reserved, port, cid, padding
    byte[] address = new byte[SOCKADDR_VM_SIZE];
    ByteBuffer.wrap(address)
        .order(ByteOrder.nativeOrder())
        .putShort((short) AF_VSOCK)
        .putShort((short) 0)
        .putInt(port)
        .putInt(VMADDR_CID_ANY);
    if (fd < 0 || bind(fd, address, SOCKADDR_VM_SIZE) < 0 || listen(fd, BACKLOG) < 0) {
      throw new IllegalStateException("cannot listen on AF_VSOCK: errno " + Native.getLastError());
    }
  }

  /**
   * Waits for a connection and closes it.
   *
   * @param giveUp asked now and then
   * @return {@link System#nanoTime} when it was accepted
   * @throws IllegalStateException when given up
   */
  long accept(BooleanSupplier giveUp) {
    byte[] polled = new byte[8]; // struct pollfd: fd, events, revents
    ByteBuffer.wrap(polled).order(ByteOrder.nativeOrder()).putInt(fd).putShort(POLLIN);
    while (poll(polled, 1, 1000) != 1) {
      if (giveUp.getAsBoolean()) {
        throw new IllegalStateException("nobody dialled");
      }
    }
    int connection = accept4(fd, 0, 0, SOCK_CLOEXEC);
    long accepted = System.nanoTime();
    if (connection < 0) {
      throw new IllegalStateException("accept: errno " + Native.getLastError());
    }
    int ignored = close(connection);
    return accepted;
  }

  @Override
  public void close() {
    int ignored = close(fd);
  }

  private static native int socket(int domain, int type, int protocol);

  private static native int bind(int fd, byte[] address, int length);

  private static native int listen(int fd, int backlog);

  private static native int accept4(int fd, long address, long length, int flags);

  private static native int poll(byte[] polled, long count, int timeoutMillis);

  private static native int close(int fd);
}
