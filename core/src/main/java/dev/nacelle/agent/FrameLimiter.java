// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.util.ReferenceCountUtil;
import java.io.IOException;
import java.util.function.LongSupplier;

/**
 * Bounds how often a guest sends HTTP/2 frames that cost the host work and carry nothing, which
 * gRPC does not: a guest that is not what it should be could keep an event loop busy that it shares
 * with others. It looks at frames' headers (RFC 9113 section 4.1) and passes everything on as it
 * is.
 *
 * <p>Output and answers are DATA and HEADERS, which flow control and the number of open calls
 * bound.
 */
final class FrameLimiter extends ChannelInboundHandlerAdapter {
  private static final int HEADER_BYTES = 9;

  private static final int DATA = 0x0;
  private static final int HEADERS = 0x1;
  private static final int SETTINGS = 0x4;
  private static final int PING = 0x6;

  /** Of SETTINGS and PING. */
  private static final int ACK = 0x1;

  /** Frames that the host must answer; an agent sends one SETTINGS. */
  private final Bucket answered;

  /** All others but DATA and HEADERS; WINDOW_UPDATE is one for each 32 KiB of stdin. */
  private final Bucket others;

  private final byte[] header = new byte[HEADER_BYTES];
  private int headerBytes;
  private int payloadLeft;
  private boolean exceeded;

  FrameLimiter(LongSupplier nanoTime) {
    answered = new Bucket(nanoTime, 100, 10);
    others = new Bucket(nanoTime, 50_000, 50_000);
  }

  /** Fills at a rate up to a limit; a frame takes one out. */
  private static final class Bucket {
    private final LongSupplier nanoTime;
    private final long capacity;
    private final long nanosEach;
    private long left;
    private long filledAt;

    Bucket(LongSupplier nanoTime, long capacity, long perSecond) {
      this.nanoTime = nanoTime;
      this.capacity = capacity;
      nanosEach = 1_000_000_000 / perSecond;
      left = capacity;
      filledAt = nanoTime.getAsLong();
    }

    boolean take() {
      if (left == 0) {
        // Asked for the time only when it matters.
        long more = (nanoTime.getAsLong() - filledAt) / nanosEach;
        filledAt += more * nanosEach;
        left = Math.min(capacity, more);
      }
      if (left == 0) {
        return false;
      }
      left--;
      return true;
    }
  }

  @Override
  public void channelRead(ChannelHandlerContext context, Object message) {
    if (exceeded || !(message instanceof ByteBuf bytes) || !passes(bytes)) {
      ReferenceCountUtil.release(message);
      if (!exceeded) {
        exceeded = true;
        context.fireExceptionCaught(
            new IOException("the guest sends HTTP/2 control frames without end"));
        var unused = context.close();
      }
      return;
    }
    context.fireChannelRead(message);
  }

  private boolean passes(ByteBuf bytes) {
    int at = bytes.readerIndex();
    int end = bytes.writerIndex();
    while (at < end) {
      int skipped = Math.min(payloadLeft, end - at);
      payloadLeft -= skipped;
      at += skipped;
      while (at < end && payloadLeft == 0 && headerBytes < HEADER_BYTES) {
        header[headerBytes++] = bytes.getByte(at++);
      }
      if (headerBytes == HEADER_BYTES) {
        headerBytes = 0;
        payloadLeft = (header[0] & 0xff) << 16 | (header[1] & 0xff) << 8 | header[2] & 0xff;
        if (!isAllowed(header[3], header[4])) {
          return false;
        }
      }
    }
    return true;
  }

  private boolean isAllowed(int type, int flags) {
    return switch (type) {
      case DATA -> payloadLeft > 0 || others.take();
      case HEADERS -> true;
      case SETTINGS, PING -> (flags & ACK) != 0 ? others.take() : answered.take();
      default -> others.take();
    };
  }
}
