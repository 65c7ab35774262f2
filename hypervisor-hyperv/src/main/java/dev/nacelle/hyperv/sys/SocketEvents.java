// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import com.sun.jna.Memory;
import com.sun.jna.Native;
import java.util.concurrent.locks.Lock;

/**
 * What one thread waits on for all its sockets, and is woken by from any other: a WSAEVENT that
 * they share. Which of them something happened to, {@link HvSocket#events} tells: a call for each,
 * which costs less than the limit of 64 events that can be waited for at once.
 *
 * <p>Closed once the thread has left, after the sockets; waking it later does nothing.
 */
public final class SocketEvents implements AutoCloseable {
  private final long event;

  /** The event, for WSAWaitForMultipleEvents. */
  private final Memory array = new Memory(Native.POINTER_SIZE);

  private final HandleGuard guard = new HandleGuard();

  /**
   * @throws WinsockException when Windows has no more of them
   */
  public SocketEvents() throws WinsockException {
    event = Winsock.WSACreateEvent();
    if (event == Winsock.WSA_INVALID_EVENT) {
      throw new WinsockException("WSACreateEvent", Winsock.lastError());
    }
    array.setLong(0, event);
  }

  long handle() {
    return event;
  }

  /**
   * Waits until something happened to a socket, or somebody called {@link #wake}: since the last
   * time this returned, so that nothing is missed between.
   *
   * @param milliseconds how long at most
   */
  public void await(int milliseconds) throws WinsockException {
    int answer = Winsock.WSAWaitForMultipleEvents(1, array, 0, milliseconds, 0);
    if (answer == Winsock.WSA_WAIT_FAILED) {
      throw new WinsockException("WSAWaitForMultipleEvents", Winsock.lastError());
    }
    // Before the sockets are asked: what happens from now on sets it again.
    if (Winsock.WSAResetEvent(event) == 0) {
      throw new WinsockException("WSAResetEvent", Winsock.lastError());
    }
  }

  /** Makes {@link #await} return, now or when it is next called. */
  public void wake() {
    Lock use = guard.use();
    if (use != null) {
      try {
        int ignored = Winsock.WSASetEvent(event);
      } finally {
        use.unlock();
      }
    }
  }

  /** Idempotent. */
  @Override
  public void close() {
    guard.close(
        () -> {
          int ignored = Winsock.WSACloseEvent(event);
        });
  }
}
