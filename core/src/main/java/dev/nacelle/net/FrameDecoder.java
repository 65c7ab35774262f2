// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.Frames.ACCEPT;
import static dev.nacelle.net.Frames.ACCEPTED;
import static dev.nacelle.net.Frames.CREDIT;
import static dev.nacelle.net.Frames.DATA;
import static dev.nacelle.net.Frames.DENIAL;
import static dev.nacelle.net.Frames.DGRAM;
import static dev.nacelle.net.Frames.ECHO;
import static dev.nacelle.net.Frames.FIN;
import static dev.nacelle.net.Frames.HELLO;
import static dev.nacelle.net.Frames.OPEN;
import static dev.nacelle.net.Frames.OPENED;
import static dev.nacelle.net.Frames.REFUSED;
import static dev.nacelle.net.Frames.RESET;
import static dev.nacelle.net.Frames.RESET_ALL;

import dev.nacelle.net.FrameException.Violation;
import dev.nacelle.net.Frames.Hello;
import dev.nacelle.net.Frames.Refusal;
import dev.nacelle.net.Frames.Reset;
import dev.nacelle.net.Frames.Side;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Reads what one side sends, as it comes. A frame's header is checked before anything of it is
 * kept; of what is behind it, DATA is passed on in parts, and everything else is kept until it is
 * whole, in one buffer that grows to 64 KiB at most. Allocates nothing per frame but for HELLO.
 */
final class FrameDecoder {
  private static final int LONGEST_KEPT = Frames.ADDRESS_BYTES + Frames.MAX_DATAGRAM;

  private final Side from;
  private final int maxData;
  private final byte[] headerBytes = new byte[Frames.HEADER];
  private final ByteBuffer header = ByteBuffer.wrap(headerBytes);
  private byte[] keptBytes = new byte[64];
  private ByteBuffer kept = ByteBuffer.wrap(keptBytes);
  private boolean greeted;

  /** Of those that this side opens, the last; unsigned. */
  private int lastOpened;

  private int type;
  private int flow;

  /** Of the payload; -1 before the header is whole. */
  private int left = -1;

  /**
   * @param from who sends
   * @param maxData the longest DATA that was agreed to be taken
   */
  FrameDecoder(Side from, int maxData) {
    this.from = from;
    this.maxData = maxData;
  }

  /**
   * Takes all that is there.
   *
   * @throws FrameException when the link has to end; then this is not to be used any more
   */
  void feed(ByteBuffer in, FrameHandler handler) throws FrameException {
    while (left >= 0 || in.hasRemaining()) {
      if (left < 0) {
        int count = Math.min(in.remaining(), header.remaining());
        in.get(headerBytes, header.position(), count);
        header.position(header.position() + count);
        if (header.hasRemaining()) {
          return;
        }
        begin(handler);
      } else if (type == DATA) {
        if (!in.hasRemaining()) {
          return;
        }
        pass(in, handler);
      } else {
        keep(in);
        if (left > 0) {
          return;
        }
        kept.flip();
        end(handler);
        next();
      }
    }
  }

  private void next() {
    left = -1;
    header.clear();
  }

  private void pass(ByteBuffer in, FrameHandler handler) throws FrameException {
    int limit = in.limit();
    int end = in.position() + Math.min(left, in.remaining());
    left -= end - in.position();
    in.limit(end);
    handler.data(flow, in);
    in.limit(limit).position(end);
    if (left == 0) {
      next();
    }
  }

  private void keep(ByteBuffer in) {
    int count = Math.min(left, in.remaining());
    if (kept.remaining() < count) {
      int size = kept.position() + count;
      keptBytes =
          Arrays.copyOf(keptBytes, Math.max(size, Math.min(2 * keptBytes.length, LONGEST_KEPT)));
      kept = ByteBuffer.wrap(keptBytes).position(size - count);
    }
    in.get(keptBytes, kept.position(), count);
    kept.position(kept.position() + count);
    left -= count;
  }

  /** The header is whole. */
  private void begin(FrameHandler handler) throws FrameException {
    type = headerBytes[0] & 0xff;
    flow = header.getInt(4);
    int length = header.getInt(8);
    check(type >= HELLO && type <= DENIAL, Violation.UNKNOWN_TYPE);
    check(greeted || type == HELLO, Violation.NO_HELLO);
    check(!greeted || type != HELLO, Violation.SECOND_HELLO);
    check(isSentBy(from), Violation.WRONG_DIRECTION);
    boolean mayBeRefused = from == Side.HOST && (type == DGRAM || type == ECHO);
    int flags = headerBytes[1] & ~(mayBeRefused ? Frames.FLAG_REFUSED : 0);
    check(flags == 0 && header.getShort(2) == 0, Violation.RESERVED_BITS);
    checkFlow();
    int least = least();
    int most = headerBytes[1] != 0 ? least : most();
    check(length >= 0 && length <= most, Violation.TOO_LONG);
    check(length >= least, Violation.TOO_SHORT);
    greeted = true;
    if (type == CREDIT) {
      handler.credit(flow, length);
      next();
    } else if (type == FIN) {
      handler.fin(flow);
      next();
    } else {
      left = length;
      kept.clear();
    }
  }

  private boolean isSentBy(Side side) {
    return switch (type) {
      case OPEN, ACCEPTED -> side == Side.GUEST;
      case OPENED, ACCEPT, RESET_ALL, DENIAL -> side == Side.HOST;
      default -> true;
    };
  }

  private void checkFlow() throws FrameException {
    boolean own = (flow & 1) == (from == Side.GUEST ? 1 : 0);
    switch (type) {
      case HELLO, DGRAM, ECHO, RESET_ALL, DENIAL -> check(flow == 0, Violation.WRONG_FLOW);
      case OPEN, ACCEPT -> {
        check(own && flow != 0, Violation.WRONG_FLOW);
        check(Integer.compareUnsigned(flow, lastOpened) > 0, Violation.FLOW_REUSED);
      }
      case OPENED, ACCEPTED, REFUSED -> check(!own && flow != 0, Violation.WRONG_FLOW);
      default -> {
        check(flow != 0, Violation.WRONG_FLOW);
        check(!own || Integer.compareUnsigned(flow, lastOpened) <= 0, Violation.UNKNOWN_FLOW);
      }
    }
  }

  private int least() {
    return switch (type) {
      case HELLO -> Frames.HELLO_BYTES;
      case OPEN, ACCEPT -> Frames.OPEN_BYTES;
      case OPENED, ACCEPTED, REFUSED, RESET -> 4;
      case DATA, CREDIT, DENIAL -> 1;
      case DGRAM, ECHO -> Frames.ADDRESS_BYTES;
      case RESET_ALL -> Frames.EPOCH;
      default -> 0;
    };
  }

  private int most() {
    return switch (type) {
      case DATA -> maxData;
      case CREDIT -> Frames.MAX_WINDOW;
      case DENIAL -> Frames.MAX_LINE;
      case DGRAM -> Frames.ADDRESS_BYTES + Frames.MAX_DATAGRAM;
      case ECHO -> Frames.ADDRESS_BYTES + Frames.MAX_ECHO;
      default -> least();
    };
  }

  /** The payload is whole. */
  private void end(FrameHandler handler) throws FrameException {
    switch (type) {
      case HELLO -> hello(handler);
      case OPEN, ACCEPT, DGRAM, ECHO -> addressed(handler);
      case OPENED -> handler.opened(flow, window());
      case ACCEPTED -> handler.accepted(flow, window());
      case REFUSED -> handler.refused(flow, known(Refusal.of(kept.getInt())));
      case RESET -> handler.reset(flow, known(Reset.of(kept.getInt())));
      case RESET_ALL -> handler.resetAll(kept.getLong(), kept.getLong());
      case DENIAL -> denial(handler);
      default -> throw new AssertionError("has no payload that is kept: " + type);
    }
  }

  private void denial(FrameHandler handler) throws FrameException {
    for (int i = kept.position(); i < kept.limit(); i++) {
      check(kept.get(i) >= ' ' && kept.get(i) <= '~', Violation.WRONG_VALUE);
    }
    handler.denial(kept);
  }

  private int window() throws FrameException {
    int window = kept.getInt();
    check(window > 0 && window <= Frames.MAX_WINDOW, Violation.WRONG_VALUE);
    return window;
  }

  private <T> T known(@Nullable T code) throws FrameException {
    if (code == null) {
      throw violation(Violation.WRONG_VALUE);
    }
    return code;
  }

  private void hello(FrameHandler handler) throws FrameException {
    check(kept.getInt() == Frames.VERSION, Violation.OTHER_VERSION);
    int data = kept.getInt();
    check(data >= 1024 && data <= Frames.MAX_DATA, Violation.WRONG_VALUE);
    int window = window();
    int largest = window();
    check(window <= largest, Violation.WRONG_VALUE);
    handler.hello(new Hello(data, window, largest, kept.getLong(), kept.getLong()));
  }

  private void addressed(FrameHandler handler) throws FrameException {
    int family = kept.get();
    check(family == 4 || family == 6, Violation.WRONG_VALUE);
    check(kept.get() == 0, Violation.RESERVED_BITS);
    int remotePort = kept.getShort() & 0xffff;
    int localPort = kept.getShort() & 0xffff;
    check(kept.getShort() == 0, Violation.RESERVED_BITS);
    long high = kept.getLong();
    long low = kept.getLong();
    boolean v6 = family == 6;
    if (!v6) {
      check(low == 0 && (high & 0xffff_ffffL) == 0, Violation.RESERVED_BITS);
      low = high >>> 32;
      high = 0;
    }
    boolean refused = headerBytes[1] != 0;
    check(type == ECHO || remotePort != 0 && localPort != 0, Violation.WRONG_VALUE);
    switch (type) {
      case DGRAM -> handler.datagram(v6, high, low, remotePort, localPort, refused, kept);
      case ECHO -> handler.echo(v6, high, low, remotePort, localPort, refused, kept);
      default -> {
        int window = window();
        lastOpened = flow;
        if (type == OPEN) {
          handler.open(flow, v6, high, low, remotePort, localPort, window);
        } else {
          handler.accept(flow, v6, high, low, remotePort, localPort, window);
        }
      }
    }
  }

  private void check(boolean holds, Violation violation) throws FrameException {
    if (!holds) {
      throw violation(violation);
    }
  }

  private FrameException violation(Violation violation) {
    return new FrameException(
        violation, "a frame of type " + type + ", flow " + Integer.toUnsignedString(flow));
  }
}
