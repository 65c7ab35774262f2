// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A stream socket of Unix that takes descriptors (unix(7)), which Java's do not. */
public final class PassingSocket implements AutoCloseable {
  static {
    Native.register(PassingSocket.class, NativeLibrary.getProcess());
  }

  // include/uapi/asm-generic and include/linux/socket.h
  private static final int AF_UNIX = 1;
  private static final int SOCK_STREAM = 1;
  private static final int SOCK_CLOEXEC = 0x80000;
  private static final int SOL_SOCKET = 1;
  private static final int SCM_RIGHTS = 1;
  private static final int MSG_CMSG_CLOEXEC = 0x4000_0000;
  private static final int MSG_NOSIGNAL = 0x4000;
  private static final int SHUT_RDWR = 2;

  /** struct sockaddr_un: the family and 108 bytes of path. */
  private static final int ADDRESS_BYTES = 110;

  // struct msghdr and cmsghdr, 64 bits
  private static final int MSGHDR_BYTES = 56;
  private static final int MSG_IOV = 16;
  private static final int MSG_IOVLEN = 24;
  private static final int MSG_CONTROL = 32;
  private static final int MSG_CONTROLLEN = 40;
  private static final int CMSG_LEVEL = 8;
  private static final int CMSG_TYPE = 12;
  private static final int CMSG_DATA = 16;
  private static final int CONTROL_BYTES = 64;

  private final FileDescriptor descriptor;

  private PassingSocket(int fd) {
    descriptor = new FileDescriptor(fd, "socket");
  }

  /** Listens, for one to connect. */
  public static PassingSocket listen(Path path) {
    PassingSocket socket =
        new PassingSocket(check("socket", socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    NativeStruct address = new NativeStruct(ADDRESS_BYTES);
    address.bytes().putShort((short) AF_UNIX).put(path.toString().getBytes(StandardCharsets.UTF_8));
    int ignored = check("bind", bind(socket.fd(), address.address(), ADDRESS_BYTES));
    ignored = check("listen", listen(socket.fd(), 1));
    return socket;
  }

  private int fd() {
    return descriptor.fd();
  }

  private static int check(String call, int result) {
    if (result < 0) {
      throw new ErrnoException(call, Libc.errno());
    }
    return result;
  }

  /** Waits for somebody who connects. */
  public PassingSocket accept() {
    return new PassingSocket(check("accept4", accept4(fd(), 0, 0, SOCK_CLOEXEC)));
  }

  /**
   * Reads until the buffer is full.
   *
   * @param passed gets the descriptors that came with these bytes
   * @return false at the end, and once {@link #end} was called
   */
  public boolean read(ByteBuffer destination, List<FileDescriptor> passed) {
    NativeStruct data = new NativeStruct(destination.remaining());
    NativeStruct vector = new NativeStruct(16);
    NativeStruct control = new NativeStruct(CONTROL_BYTES);
    NativeStruct message = new NativeStruct(MSGHDR_BYTES);
    int size = destination.remaining();
    for (int done = 0; done < size; ) {
      vector.bytes().putLong(0, data.address() + done).putLong(8, size - done);
      message.bytes().putLong(MSG_IOV, vector.address()).putLong(MSG_IOVLEN, 1);
      message
          .bytes()
          .putLong(MSG_CONTROL, control.address())
          .putLong(MSG_CONTROLLEN, CONTROL_BYTES);
      long n = recvmsg(fd(), message.address(), MSG_CMSG_CLOEXEC);
      if (n <= 0) {
        return false;
      }
      done += (int) n;
      passed.addAll(descriptors(control.bytes(), message.bytes().getLong(MSG_CONTROLLEN)));
    }
    destination.put(data.bytes().limit(size));
    return true;
  }

  private static List<FileDescriptor> descriptors(ByteBuffer control, long length) {
    List<FileDescriptor> found = new ArrayList<>();
    if (length >= CMSG_DATA
        && control.getInt(CMSG_LEVEL) == SOL_SOCKET
        && control.getInt(CMSG_TYPE) == SCM_RIGHTS) {
      for (int at = CMSG_DATA; at < control.getLong(0); at += Integer.BYTES) {
        found.add(new FileDescriptor(control.getInt(at), "passed"));
      }
    }
    return found;
  }

  public void write(byte[] bytes) {
    for (int done = 0; done < bytes.length; ) {
      byte[] rest = java.util.Arrays.copyOfRange(bytes, done, bytes.length);
      done += check("send", (int) send(fd(), rest, rest.length, MSG_NOSIGNAL));
    }
  }

  /** Has whoever accepts or reads return. */
  public void end() {
    int ignored = shutdown(fd(), SHUT_RDWR);
  }

  @Override
  public void close() {
    descriptor.close();
  }

  private static native int socket(int domain, int type, int protocol);

  private static native int bind(int fd, long address, int length);

  private static native int listen(int fd, int backlog);

  private static native int accept4(int fd, long address, long length, int flags);

  private static native long recvmsg(int fd, long message, int flags);

  private static native long send(int fd, byte[] bytes, long length, int flags);

  private static native int shutdown(int fd, int how);
}
