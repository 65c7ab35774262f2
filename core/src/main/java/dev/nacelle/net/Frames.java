// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * The frames of the link between a guest's agent and the host, which carries all flows of a sandbox
 * over one stream. Numbers are big-endian. A frame begins with a header of 12 bytes:
 *
 * <pre>
 * u8 type | u8 flags | u16 zero | u32 flow | u32 length
 * </pre>
 *
 * <p>and goes on with so many bytes, except that a CREDIT has none, and its length is the amount. G
 * is the guest, H the host:
 *
 * <pre>
 *  1 HELLO      both  u32 version | u32 longest DATA | u32 window | u32 largest window | 16 epoch
 *  2 OPEN       G->H  ADDRESS (remote address and port; the guest's port) | u32 window
 *  3 OPENED     H->G  u32 window
 *  4 REFUSED    both  u32 code: POLICY 1, REFUSED 2, NET_UNREACHABLE 3, HOST_UNREACHABLE 4,
 *                     TIMEOUT 5, LIMIT 6; from the host for OPEN, from the guest for ACCEPT
 *  5 ACCEPT     H->G  ADDRESS (peer's address and port; the guest's port) | u32 window
 *  6 ACCEPTED   G->H  u32 window
 *  7 DATA       both  1 to 65536 bytes
 *  8 FIN        both
 *  9 RESET      both  u32 code: ABORTED 1, POLICY 2, STALLED 3, LIMIT 4
 * 10 CREDIT     both  (1 to 2^24)
 * 11 DGRAM      both  ADDRESS (remote address and port; the guest's port) | 0 to 65507 bytes
 * 12 ECHO       both  ADDRESS (remote address, sequence number; identifier) | 0 to 1472 bytes
 * 13 RESET_ALL  H->G  16 epoch
 * 14 DENIAL     H->G  1 to 512 bytes of printable ASCII: a line for people in the guest
 *
 * ADDRESS: u8 family (4 or 6) | u8 zero | u16 remote port | u16 local port | u16 zero | 16 address
 * </pre>
 *
 * <p>An address of IPv4 is in the first 4 bytes of 16, the others are zero. Flows that the guest
 * opens are odd, those that the host opens even; they rise and are never used again. HELLO, DGRAM,
 * ECHO, RESET_ALL and DENIAL have flow 0. HELLO comes first and once. The one flag, 1, is the
 * host's: a DGRAM or an ECHO comes back without its content, for it was refused. OPEN and ACCEPT
 * are of TCP.
 */
final class Frames {
  static final int VERSION = 1;
  static final int HEADER = 12;
  static final int MAX_DATA = 1 << 16;
  static final int MAX_DATAGRAM = 65_507;
  static final int MAX_ECHO = 1472;

  /** Of a window, and of what one CREDIT gives. */
  static final int MAX_WINDOW = 1 << 24;

  static final int MAX_LINE = 512;

  static final int FLAG_REFUSED = 1;

  static final int HELLO = 1;
  static final int OPEN = 2;
  static final int OPENED = 3;
  static final int REFUSED = 4;
  static final int ACCEPT = 5;
  static final int ACCEPTED = 6;
  static final int DATA = 7;
  static final int FIN = 8;
  static final int RESET = 9;
  static final int CREDIT = 10;
  static final int DGRAM = 11;
  static final int ECHO = 12;
  static final int RESET_ALL = 13;
  static final int DENIAL = 14;

  static final int EPOCH = 16;
  static final int HELLO_BYTES = 16 + EPOCH;
  static final int ADDRESS_BYTES = 24;
  static final int OPEN_BYTES = ADDRESS_BYTES + 4;

  private Frames() {}

  /** Who sends. */
  enum Side {
    GUEST,
    HOST
  }

  /** Why a flow was not opened. */
  enum Refusal {
    POLICY(1),
    REFUSED(2),
    NET_UNREACHABLE(3),
    HOST_UNREACHABLE(4),
    TIMEOUT(5),
    LIMIT(6);

    private static final Refusal[] ALL = values();

    private final int code;

    Refusal(int code) {
      this.code = code;
    }

    static @Nullable Refusal of(int code) {
      for (Refusal refusal : ALL) {
        if (refusal.code == code) {
          return refusal;
        }
      }
      return null;
    }
  }

  /** Why a flow was broken off. */
  enum Reset {
    ABORTED(1),
    POLICY(2),
    STALLED(3),
    LIMIT(4);

    private static final Reset[] ALL = values();

    private final int code;

    Reset(int code) {
      this.code = code;
    }

    static @Nullable Reset of(int code) {
      for (Reset reset : ALL) {
        if (reset.code == code) {
          return reset;
        }
      }
      return null;
    }
  }

  /**
   * What a side says of itself.
   *
   * @param maxData the longest DATA that it takes, 1024 to 65536
   * @param window what may be sent of a flow before the first CREDIT, 1 to the largest
   * @param largestWindow how far that may grow, at most 2^24
   * @param epochHigh of 16 bytes that are new whenever its flows are
   * @param epochLow the rest of them
   */
  record Hello(int maxData, int window, int largestWindow, long epochHigh, long epochLow) {}

  private static void header(ByteBuffer out, int type, int flags, int flow, int length) {
    out.put((byte) type).put((byte) flags).putShort((short) 0).putInt(flow).putInt(length);
  }

  private static void address(
      ByteBuffer out, boolean v6, long high, long low, int remotePort, int localPort) {
    out.put((byte) (v6 ? 6 : 4)).put((byte) 0);
    out.putShort((short) remotePort).putShort((short) localPort).putShort((short) 0);
    if (v6) {
      out.putLong(high).putLong(low);
    } else {
      out.putLong(low << 32).putLong(0);
    }
  }

  static void putHello(ByteBuffer out, Hello hello) {
    header(out, HELLO, 0, 0, HELLO_BYTES);
    out.putInt(VERSION).putInt(hello.maxData).putInt(hello.window).putInt(hello.largestWindow);
    out.putLong(hello.epochHigh).putLong(hello.epochLow);
  }

  /** The guest's OPEN, or the host's ACCEPT. */
  static void putOpen(
      ByteBuffer out,
      int type,
      int flow,
      boolean v6,
      long high,
      long low,
      int remotePort,
      int localPort,
      int window) {
    header(out, type, 0, flow, OPEN_BYTES);
    address(out, v6, high, low, remotePort, localPort);
    out.putInt(window);
  }

  /** The host's OPENED, or the guest's ACCEPTED. */
  static void putOpened(ByteBuffer out, int type, int flow, int window) {
    header(out, type, 0, flow, 4);
    out.putInt(window);
  }

  static void putRefused(ByteBuffer out, int flow, Refusal why) {
    header(out, REFUSED, 0, flow, 4);
    out.putInt(why.code);
  }

  /**
   * The header of a DATA frame; its bytes come behind it.
   *
   * @param length 1 to 65536
   */
  static void putDataHeader(ByteBuffer out, int flow, int length) {
    header(out, DATA, 0, flow, length);
  }

  static void putFin(ByteBuffer out, int flow) {
    header(out, FIN, 0, flow, 0);
  }

  static void putReset(ByteBuffer out, int flow, Reset why) {
    header(out, RESET, 0, flow, 4);
    out.putInt(why.code);
  }

  static void putCredit(ByteBuffer out, int flow, int amount) {
    header(out, CREDIT, 0, flow, amount);
  }

  /**
   * The head of a DGRAM or an ECHO; its bytes come behind it.
   *
   * @param length of its content; 0 where it was refused
   */
  static void putMessageHead(
      ByteBuffer out,
      int type,
      boolean v6,
      long high,
      long low,
      int remotePort,
      int localPort,
      boolean refused,
      int length) {
    header(out, type, refused ? FLAG_REFUSED : 0, 0, ADDRESS_BYTES + length);
    address(out, v6, high, low, remotePort, localPort);
  }

  /**
   * A line for people in the guest.
   *
   * @param line 1 to {@link #MAX_LINE} bytes of printable ASCII
   */
  static void putDenial(ByteBuffer out, byte[] line) {
    header(out, DENIAL, 0, 0, line.length);
    out.put(line);
  }

  static void putResetAll(ByteBuffer out, long epochHigh, long epochLow) {
    header(out, RESET_ALL, 0, 0, EPOCH);
    out.putLong(epochHigh).putLong(epochLow);
  }
}
