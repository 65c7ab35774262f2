// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.peers;

import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import java.io.IOException;
import java.net.SocketException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * A stream socket of the host's that never waits: of AF_VSOCK (vsock(7)), which Java has none for,
 * or AF_UNIX (unix(7)), so that all monitors' sockets cost the same. Safe for use from several
 * threads: what is closed is not used any more.
 */
final class HostSocket implements AutoCloseable {
  static {
    Native.register(HostSocket.class, NativeLibrary.getProcess());
  }

  // x86-64 Linux: include/uapi/asm-generic
  private static final int AF_UNIX = 1;
  private static final int AF_VSOCK = 40;
  private static final int SOCK_STREAM = 1;
  private static final int SOCK_CLOEXEC = 0x80000;
  private static final int SOCK_NONBLOCK = 0x800;
  private static final int MSG_NOSIGNAL = 0x4000;
  private static final int SHUT_WR = 1;
  private static final int SOL_SOCKET = 1;
  private static final int SO_ERROR = 4;
  private static final int EINTR = 4;
  private static final int EAGAIN = 11;
  private static final int EINPROGRESS = 115;
  private static final int VMADDR_CID_ANY = -1;
  private static final int SOCKADDR_VM_SIZE = 16;
  private static final int SUN_PATH = 108;
  private static final int BACKLOG = 128;

  /** What is in the heap goes through a buffer of this size. */
  private static final int COPIED = 64 * 1024;

  private final int fd;
  private boolean closed;
  private @Nullable ByteBuffer copy;

  private HostSocket(int fd) {
    this.fd = fd;
  }

  /** Where a socket is. */
  record Address(int family, byte[] bytes) {
    /** A file. */
    static Address of(Path path) throws IOException {
      byte[] name = path.toString().getBytes(StandardCharsets.UTF_8);
      if (name.length >= SUN_PATH) {
        throw new IOException("the path of a Unix socket has 107 bytes at most: " + path);
      }
      ByteBuffer address = ByteBuffer.allocate(2 + name.length + 1).order(ByteOrder.nativeOrder());
      return new Address(AF_UNIX, address.putShort((short) AF_UNIX).put(name).array());
    }

    /** A port of a guest. */
    static Address ofGuest(int cid, int port) {
      // struct sockaddr_vm: family, reserved, port, cid, padding
      ByteBuffer address = ByteBuffer.allocate(SOCKADDR_VM_SIZE).order(ByteOrder.nativeOrder());
      address.putShort((short) AF_VSOCK).putShort((short) 0).putInt(port).putInt(cid);
      return new Address(AF_VSOCK, address.array());
    }

    /** A port of the host, for every guest. */
    static Address ofHost(int port) {
      return ofGuest(VMADDR_CID_ANY, port);
    }
  }

  /** Who was accepted; of AF_UNIX neither is known. */
  record Accepted(HostSocket socket, int cid, int port) {}

  /** Accepts there. */
  static HostSocket listen(Address address) throws IOException {
    HostSocket socket = open(address);
    if (bind(socket.fd, address.bytes, address.bytes.length) < 0
        || listen(socket.fd, BACKLOG) < 0) {
      IOException failure = failure("listening");
      socket.close();
      throw failure;
    }
    return socket;
  }

  /** Begins to connect; when it can be written to, {@link #requireConnected} tells. */
  static HostSocket connect(Address address) throws IOException {
    HostSocket socket = open(address);
    if (connect(socket.fd, address.bytes, address.bytes.length) < 0
        && Native.getLastError() != EINPROGRESS) {
      IOException failure = failure("connecting");
      socket.close();
      throw failure;
    }
    return socket;
  }

  private static HostSocket open(Address address) throws IOException {
    int fd = socket(address.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
      throw failure("opening a socket");
    }
    return new HostSocket(fd);
  }

  private static SocketException failure(String what) {
    return new SocketException(what + ": errno " + Native.getLastError());
  }

  int fd() {
    return fd;
  }

  /**
   * @throws IOException why it is not
   */
  synchronized void requireConnected() throws IOException {
    byte[] error = new byte[4];
    if (closed || getsockopt(fd, SOL_SOCKET, SO_ERROR, error, new int[] {4}) < 0) {
      throw failure("connecting");
    }
    int errno = ByteBuffer.wrap(error).order(ByteOrder.nativeOrder()).getInt();
    if (errno != 0) {
      throw new java.net.ConnectException("errno " + errno);
    }
  }

  /** The next who connects, or null for none now. */
  synchronized @Nullable Accepted accept() throws IOException {
    byte[] peer = new byte[128];
    int accepted =
        closed ? -1 : accept4(fd, peer, new int[] {peer.length}, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (accepted < 0) {
      if (closed || Native.getLastError() == EAGAIN) {
        return null;
      }
      throw failure("accepting");
    }
    ByteBuffer address = ByteBuffer.wrap(peer).order(ByteOrder.nativeOrder());
    boolean vsock = address.getShort(0) == AF_VSOCK;
    return new Accepted(
        new HostSocket(accepted), vsock ? address.getInt(8) : 0, vsock ? address.getInt(4) : 0);
  }

  /** As {@link dev.nacelle.spi.GuestConnection#read}. */
  synchronized int read(ByteBuffer destination) throws IOException {
    requireOpen();
    if (!destination.hasRemaining()) {
      return 0;
    }
    ByteBuffer into = destination.isDirect() ? destination : copy(destination.remaining());
    long n;
    do {
      n = recv(fd, address(into), into.remaining(), 0);
    } while (n < 0 && Native.getLastError() == EINTR);
    if (n < 0) {
      if (Native.getLastError() == EAGAIN) {
        return 0;
      }
      throw failure("reading");
    }
    if (n == 0) {
      return -1;
    }
    if (into == destination) {
      destination.position(destination.position() + (int) n);
    } else {
      destination.put(into.limit((int) n));
    }
    return (int) n;
  }

  /** As {@link dev.nacelle.spi.GuestConnection#write(ByteBuffer)}. */
  synchronized int write(ByteBuffer source) throws IOException {
    requireOpen();
    int start = source.position();
    // Until none are taken: only then does epoll tell when there is room.
    while (source.hasRemaining()) {
      ByteBuffer from = source;
      if (!source.isDirect()) {
        from = copy(source.remaining());
        ByteBuffer part = source.duplicate();
        from.put(part.limit(part.position() + from.remaining())).flip();
      }
      long n = send(fd, address(from), from.remaining(), MSG_NOSIGNAL);
      if (n >= 0) {
        source.position(source.position() + (int) n);
      } else if (Native.getLastError() == EAGAIN) {
        break;
      } else if (Native.getLastError() != EINTR) {
        throw failure("writing");
      }
    }
    return source.position() - start;
  }

  private ByteBuffer copy(int wanted) {
    ByteBuffer buffer = copy;
    if (buffer == null) {
      buffer = ByteBuffer.allocateDirect(COPIED);
      copy = buffer;
    }
    return buffer.clear().limit(Math.min(wanted, COPIED));
  }

  private static long address(ByteBuffer direct) {
    return Pointer.nativeValue(Native.getDirectBufferPointer(direct)) + direct.position();
  }

  synchronized void shutdownOutput() throws IOException {
    requireOpen();
    if (shutdown(fd, SHUT_WR) < 0) {
      throw failure("ending the output");
    }
  }

  private void requireOpen() throws IOException {
    if (closed) {
      throw new SocketException("the connection is closed");
    }
  }

  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      int ignored = close(fd);
    }
  }

  private static native int socket(int domain, int type, int protocol);

  private static native int bind(int fd, byte[] address, int length);

  private static native int listen(int fd, int backlog);

  private static native int connect(int fd, byte[] address, int length);

  private static native int accept4(int fd, byte[] address, int[] length, int flags);

  private static native int getsockopt(int fd, int level, int name, byte[] value, int[] length);

  private static native long recv(int fd, long buffer, long length, int flags);

  private static native long send(int fd, long buffer, long length, int flags);

  private static native int shutdown(int fd, int how);

  private static native int close(int fd);
}
