// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.concurrent.locks.Lock;
import org.jspecify.annotations.Nullable;

/**
 * A socket of Hyper-V, without blocking calls. One thread at a time reads, one at a time writes,
 * any thread closes: a call that is made meanwhile ends first, for the number of a closed socket
 * can be another's at once.
 *
 * <p>Child processes do not inherit it.
 */
public final class HvSocket implements AutoCloseable {
  /** Of {@link Events}: what Windows reports. */
  private static final int ALL =
      Winsock.FD_READ
          | Winsock.FD_WRITE
          | Winsock.FD_ACCEPT
          | Winsock.FD_CONNECT
          | Winsock.FD_CLOSE;

  /** Windows takes no longer one (hvsocket.h: HVSOCKET_CONNECT_TIMEOUT_MAX). */
  static final int MAX_CONNECT_TIMEOUT_MILLIS = 300_000;

  private static final Events NOTHING = new Events(0, 0);

  private final long socket;
  private final SocketEvents notified;
  private final Memory networkEvents = new Memory(Winsock.NETWORK_EVENTS_SIZE);
  private final HandleGuard guard = new HandleGuard();

  private HvSocket(long socket, SocketEvents notified) {
    this.socket = socket;
    this.notified = notified;
  }

  /**
   * What happened to a socket since it was last asked.
   *
   * @param flags of FD_READ and the others
   * @param connectError how the connect ended, 0 for well; of no meaning before it has
   */
  public record Events(int flags, int connectError) {
    /** Whether there may be bytes to read. Told again after a read that left some. */
    public boolean isReadable() {
      return (flags & (Winsock.FD_READ | Winsock.FD_CLOSE)) != 0;
    }

    /** Whether bytes may be taken. Told at first, then after a write that took none. */
    public boolean isWritable() {
      return (flags & Winsock.FD_WRITE) != 0;
    }

    /** Whether a connection may be there to be accepted. Told again after each that was. */
    public boolean isAcceptable() {
      return (flags & Winsock.FD_ACCEPT) != 0;
    }

    /** Whether the connect has ended, well or not. */
    public boolean hasConnected() {
      return (flags & Winsock.FD_CONNECT) != 0;
    }

    /**
     * Returns if the connect ended well.
     *
     * @throws WinsockException if not
     */
    public void requireConnected() throws WinsockException {
      if (connectError != 0) {
        throw new WinsockException("connect", connectError);
      }
    }
  }

  /**
   * Listens for connections to a service of a machine.
   *
   * @param backlog how many may wait to be accepted; Windows drops more
   */
  public static HvSocket listen(HvSocketAddress address, int backlog, SocketEvents notified)
      throws WinsockException {
    HvSocket socket = create(notified);
    try {
      Memory memory = encode(address);
      check("bind", Winsock.bind(socket.socket, memory, HvSocketAddress.SIZE));
      check("listen", Winsock.listen(socket.socket, backlog));
      return socket;
    } catch (WinsockException e) {
      socket.close();
      throw e;
    }
  }

  /**
   * Starts to connect; {@link Events#hasConnected} tells the end of it.
   *
   * @param limit how long Windows tries, at most 5 minutes
   */
  public static HvSocket connect(HvSocketAddress address, Duration limit, SocketEvents notified)
      throws WinsockException {
    HvSocket socket = create(notified);
    try {
      long millis = Math.min(Math.max(1, limit.toMillis()), MAX_CONNECT_TIMEOUT_MILLIS);
      socket.setOption(Winsock.HVSOCKET_CONNECT_TIMEOUT, (int) millis);
      Memory memory = encode(address);
      if (Winsock.connect(socket.socket, memory, HvSocketAddress.SIZE) != 0) {
        int error = Winsock.lastError();
        if (error != Winsock.WSAEWOULDBLOCK) {
          throw new WinsockException("connect", error);
        }
      }
      return socket;
    } catch (WinsockException e) {
      socket.close();
      throw e;
    }
  }

  private static HvSocket create(SocketEvents notified) throws WinsockException {
    long number =
        Winsock.WSASocketW(
            Winsock.AF_HYPERV,
            Winsock.SOCK_STREAM,
            Winsock.HV_PROTOCOL_RAW,
            null,
            0,
            Winsock.WSA_FLAG_OVERLAPPED | Winsock.WSA_FLAG_NO_HANDLE_INHERIT);
    if (number == Winsock.INVALID_SOCKET) {
      throw new WinsockException("WSASocket", Winsock.lastError());
    }
    HvSocket socket = new HvSocket(number, notified);
    try {
      // Connections outlive a pause of the machine.
      socket.setOption(Winsock.HVSOCKET_CONNECTED_SUSPEND, 1);
      socket.select();
      return socket;
    } catch (WinsockException e) {
      socket.close();
      throw e;
    }
  }

  private void setOption(int option, int value) throws WinsockException {
    Memory memory = new Memory(Integer.BYTES);
    memory.setInt(0, value);
    check(
        "setsockopt " + option,
        Winsock.setsockopt(socket, Winsock.HV_PROTOCOL_RAW, option, memory, Integer.BYTES));
  }

  private void select() throws WinsockException {
    check("WSAEventSelect", Winsock.WSAEventSelect(socket, notified.handle(), ALL));
  }

  private static Memory encode(HvSocketAddress address) {
    Memory memory = new Memory(HvSocketAddress.SIZE);
    memory.clear();
    address.write(little(memory));
    return memory;
  }

  private static ByteBuffer little(Memory memory) {
    return memory.getByteBuffer(0, memory.size()).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static void check(String call, int result) throws WinsockException {
    if (result == Winsock.SOCKET_ERROR) {
      throw new WinsockException(call, Winsock.lastError());
    }
  }

  /** A connection that was accepted, and where its other end is. */
  public record Accepted(HvSocket socket, HvSocketAddress peer) {}

  /** Accepts a connection; null where there is none. */
  public @Nullable Accepted accept() throws WinsockException {
    Memory address = new Memory(HvSocketAddress.SIZE);
    address.clear();
    Memory size = new Memory(Integer.BYTES);
    size.setInt(0, HvSocketAddress.SIZE);
    long number;
    Lock use = use();
    try {
      number = Winsock.accept(socket, address, size);
      if (number == Winsock.INVALID_SOCKET) {
        int error = Winsock.lastError();
        if (error == Winsock.WSAEWOULDBLOCK) {
          return null;
        }
        throw new WinsockException("accept", error);
      }
    } finally {
      use.unlock();
    }
    HvSocket accepted = new HvSocket(number, notified);
    try {
      // What accept makes is inheritable, whatever the listening socket is.
      int ignored =
          Kernel32.SetHandleInformation(new Pointer(number), Kernel32.HANDLE_FLAG_INHERIT, 0);
      accepted.setOption(Winsock.HVSOCKET_CONNECTED_SUSPEND, 1);
      accepted.select();
      return new Accepted(accepted, HvSocketAddress.read(little(address)));
    } catch (WinsockException e) {
      accepted.close();
      throw e;
    }
  }

  /** Asks what happened since the last time; one thread at a time does. */
  public Events events() throws WinsockException {
    Lock use = use();
    try {
      check("WSAEnumNetworkEvents", Winsock.WSAEnumNetworkEvents(socket, 0, networkEvents));
    } finally {
      use.unlock();
    }
    int flags = networkEvents.getInt(Winsock.NETWORK_EVENTS);
    int connectError =
        networkEvents.getInt(Winsock.NETWORK_ERRORS + Integer.BYTES * Winsock.FD_CONNECT_BIT);
    return flags == 0 ? NOTHING : new Events(flags, connectError);
  }

  /**
   * Reads what is there.
   *
   * @param destination a direct buffer with room
   * @return the number of bytes; 0 when there are none now; -1 at the end
   * @throws WinsockException when the connection was reset
   */
  public int read(ByteBuffer destination) throws WinsockException {
    requireRoom(destination);
    Lock use = use();
    int n;
    try {
      n = Winsock.recv(socket, at(destination), destination.remaining(), 0);
      if (n < 0) {
        return wouldBlock("recv");
      }
    } finally {
      use.unlock();
      Reference.reachabilityFence(destination);
    }
    if (n == 0) {
      return -1;
    }
    destination.position(destination.position() + n);
    return n;
  }

  /**
   * Takes as many bytes as there is room for now.
   *
   * @param source a direct buffer with bytes
   * @return how many were taken, possibly 0
   * @throws WinsockException when the connection was reset
   */
  public int write(ByteBuffer source) throws WinsockException {
    requireRoom(source);
    Lock use = use();
    int n;
    try {
      n = Winsock.send(socket, at(source), source.remaining(), 0);
      if (n < 0) {
        return wouldBlock("send");
      }
    } finally {
      use.unlock();
      Reference.reachabilityFence(source);
    }
    source.position(source.position() + n);
    return n;
  }

  private static void requireRoom(ByteBuffer buffer) {
    if (!buffer.isDirect() || !buffer.hasRemaining()) {
      throw new IllegalArgumentException("not a direct buffer with room: " + buffer);
    }
  }

  /** Safe: who calls keeps the buffer reachable, and goes no further than its limit. */
  private static Pointer at(ByteBuffer buffer) {
    return Native.getDirectBufferPointer(buffer).share(buffer.position());
  }

  private static int wouldBlock(String call) throws WinsockException {
    int error = Winsock.lastError();
    if (error != Winsock.WSAEWOULDBLOCK) {
      throw new WinsockException(call, error);
    }
    return 0;
  }

  /** Ends what is written: the guest reads an end after it. */
  public void shutdownOutput() throws WinsockException {
    Lock use = use();
    try {
      check("shutdown", Winsock.shutdown(socket, Winsock.SD_SEND));
    } finally {
      use.unlock();
    }
  }

  private Lock use() throws WinsockException {
    Lock use = guard.use();
    if (use == null) {
      throw new WinsockException("closed", Winsock.WSAECONNABORTED);
    }
    return use;
  }

  /** Idempotent. */
  @Override
  public void close() {
    guard.close(
        () -> {
          int ignored = Winsock.closesocket(socket);
        });
  }
}
