// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import java.net.SocketException;

/** A call to Winsock failed. A reset may be the machine's end, which Windows then tells later. */
public final class WinsockException extends SocketException {
  private static final long serialVersionUID = 1L;

  private final int code;

  /**
   * @param call the function
   * @param code what WSAGetLastError said
   */
  WinsockException(String call, int code) {
    super(call + ": " + describe(code));
    this.code = code;
  }

  /** The number of the error, such as 10054 for WSAECONNRESET. */
  public int code() {
    return code;
  }

  /** Whether the machine said no to a connect. */
  public boolean isRefusal() {
    return code == Winsock.WSAECONNREFUSED;
  }

  /** Whether the machine said nothing to a connect, as one does that is not there yet. */
  public boolean isSilence() {
    return code == Winsock.WSAETIMEDOUT || code == Winsock.WSAENETUNREACH;
  }

  /** Whether somebody listens there. */
  public boolean isTaken() {
    return code == Winsock.WSAEADDRINUSE;
  }

  private static String describe(int code) {
    return switch (code) {
      case Winsock.WSAEACCES ->
          "the machine's security descriptors do not let this user (WSAEACCES)";
      case Winsock.WSAEAFNOSUPPORT ->
          "Windows has no sockets of Hyper-V: the hypervisor is not there (WSAEAFNOSUPPORT)";
      case Winsock.WSAEADDRINUSE -> "somebody listens there already (WSAEADDRINUSE)";
      case Winsock.WSAENETUNREACH -> "the machine is not there (WSAENETUNREACH)";
      case Winsock.WSAECONNABORTED -> "the connection was aborted (WSAECONNABORTED)";
      case Winsock.WSAECONNRESET -> "the connection was reset (WSAECONNRESET)";
      case Winsock.WSAETIMEDOUT -> "the machine does not answer (WSAETIMEDOUT)";
      case Winsock.WSAECONNREFUSED -> "the machine refuses (WSAECONNREFUSED)";
      default -> "error " + code;
    };
  }
}
