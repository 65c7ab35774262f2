// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import org.jspecify.annotations.Nullable;

/**
 * Functions of ws2_32.dll (winsock2.h) as sockets of Hyper-V need them (hvsocket.h). A SOCKET and a
 * WSAEVENT are numbers of 64 bits.
 */
final class Winsock {
  static final int AF_HYPERV = 34;
  static final int SOCK_STREAM = 1;
  static final int HV_PROTOCOL_RAW = 1;

  static final int WSA_FLAG_OVERLAPPED = 1;
  static final int WSA_FLAG_NO_HANDLE_INHERIT = 0x80;

  static final long INVALID_SOCKET = -1;
  static final int SOCKET_ERROR = -1;
  static final long WSA_INVALID_EVENT = 0;

  // Options of the level HV_PROTOCOL_RAW; a ULONG each
  static final int HVSOCKET_CONNECT_TIMEOUT = 1;
  static final int HVSOCKET_CONNECTED_SUSPEND = 4;

  static final int SD_SEND = 1;

  static final int FD_READ = 1;
  static final int FD_WRITE = 2;
  static final int FD_ACCEPT = 8;
  static final int FD_CONNECT = 0x10;
  static final int FD_CLOSE = 0x20;
  static final int FD_CONNECT_BIT = 4;

  // struct WSANETWORKEVENTS
  static final int NETWORK_EVENTS = 0;
  static final int NETWORK_ERRORS = 4;
  static final int NETWORK_EVENTS_SIZE = 44;

  static final int WSA_WAIT_FAILED = -1;

  static final int WSAEINTR = 10004;
  static final int WSAEACCES = 10013;
  static final int WSAEWOULDBLOCK = 10035;
  static final int WSAEAFNOSUPPORT = 10047;
  static final int WSAEADDRINUSE = 10048;
  static final int WSAENETUNREACH = 10051;
  static final int WSAECONNABORTED = 10053;
  static final int WSAECONNRESET = 10054;
  static final int WSAETIMEDOUT = 10060;
  static final int WSAECONNREFUSED = 10061;

  private static final short VERSION_2_2 = 0x202;

  /** struct WSADATA. */
  static final int WSADATA_SIZE = 408;

  static {
    Native.register(Winsock.class, WindowsLibrary.load("ws2_32"));
    // Once for the process: what it counts against (WSACleanup) would end sockets of others as
    // well.
    int error = WSAStartup(VERSION_2_2, new Memory(WSADATA_SIZE));
    if (error != 0) {
      throw new UnsatisfiedLinkError("WSAStartup: error " + error);
    }
  }

  private Winsock() {}

  /** WSAGetLastError of the last call on this thread; meaningful only after one that failed. */
  static int lastError() {
    return Native.getLastError();
  }

  static native int WSAStartup(short version, Pointer data);

  static native long WSASocketW(
      int family, int type, int protocol, @Nullable Pointer protocolInfo, int group, int flags);

  static native int bind(long socket, Pointer address, int size);

  static native int listen(long socket, int backlog);

  static native long accept(long socket, Pointer address, Pointer size);

  static native int connect(long socket, Pointer address, int size);

  static native int send(long socket, Pointer bytes, int length, int flags);

  static native int recv(long socket, Pointer bytes, int length, int flags);

  static native int shutdown(long socket, int how);

  static native int closesocket(long socket);

  static native int setsockopt(long socket, int level, int option, Pointer value, int size);

  static native long WSACreateEvent();

  static native int WSASetEvent(long event);

  static native int WSAResetEvent(long event);

  static native int WSACloseEvent(long event);

  /** Makes the socket non-blocking, too. */
  static native int WSAEventSelect(long socket, long event, int networkEvents);

  static native int WSAEnumNetworkEvents(long socket, long event, Pointer networkEvents);

  static native int WSAWaitForMultipleEvents(
      int count, Pointer events, int all, int milliseconds, int alertable);
}
