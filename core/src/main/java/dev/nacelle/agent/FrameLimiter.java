// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelDuplexHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelPromise;
import io.netty.util.ReferenceCountUtil;
import java.io.IOException;
import java.util.function.LongSupplier;

/**
 * Bounds how often a guest sends HTTP/2 frames that cost the host work and carry nothing, which
 * gRPC does not: a guest that is not what it should be could keep an event loop busy that it shares
 * with others. And it ends the connection over frames that no agent sends and that gRPC logs, for
 * the log of the host's process is not the guest's to write to. It looks at frames' headers (RFC
 * 9113 section 4.1) and passes everything on as it is.
 *
 * <p>Output is DATA, which flow control bounds. What gRPC logs of DATA behind a message that it
 * could not read is at most what one read holds, for each call.
 */
final class FrameLimiter extends ChannelDuplexHandler {
  private static final int HEADER_BYTES = 9;

  /** Of a RST_STREAM. */
  private static final int RESET_BYTES = HEADER_BYTES + 4;

  /** Of a GOAWAY, up to the end of its error code. */
  private static final int ERROR_CODE_END = 8;

  private static final int DATA = 0x0;
  private static final int RST_STREAM = 0x3;
  private static final int SETTINGS = 0x4;
  private static final int PING = 0x6;
  private static final int GOAWAY = 0x7;

  /** Of SETTINGS and PING. */
  private static final int ACK = 0x1;

  /** Frames that the host must answer, and those without content; an agent sends one SETTINGS. */
  private final Bucket rare;

  /** All others but DATA; HEADERS are two for each call, WINDOW_UPDATE one for 64 KiB of stdin. */
  private final Bucket others;

  private final byte[] header = new byte[HEADER_BYTES];
  private int headerBytes;
  private int payloadLeft;

  /** How many bytes of a GOAWAY were looked at. */
  private int goAwayBytes = ERROR_CODE_END;

  private boolean exceeded;

  FrameLimiter(LongSupplier nanoTime) {
    rare = new Bucket(nanoTime, 100, 10);
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
            new IOException("the guest sends HTTP/2 frames that no agent sends, or too many"));
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
      while (goAwayBytes < ERROR_CODE_END && payloadLeft > 0 && at < end) {
        // The identifier of a stream, and then the code.
        if (goAwayBytes++ >= ERROR_CODE_END / 2 && bytes.getByte(at) != 0) {
          return false;
        }
        payloadLeft--;
        at++;
      }
      int skipped = Math.min(payloadLeft, end - at);
      payloadLeft -= skipped;
      at += skipped;
      while (at < end && payloadLeft == 0 && headerBytes < HEADER_BYTES) {
        header[headerBytes++] = bytes.getByte(at++);
      }
      if (headerBytes == HEADER_BYTES) {
        headerBytes = 0;
        payloadLeft = (header[0] & 0xff) << 16 | (header[1] & 0xff) << 8 | header[2] & 0xff;
        goAwayBytes = header[3] == GOAWAY ? 0 : ERROR_CODE_END;
        if (!isAllowed(header[3], header[4])) {
          return false;
        }
      }
    }
    return true;
  }

  private boolean isAllowed(int type, int flags) {
    return switch (type) {
      case DATA -> payloadLeft > 0 || rare.take();
      // The host sends no PING, so none is to be acknowledged.
      case PING -> (flags & ACK) == 0 && rare.take();
      case SETTINGS, GOAWAY -> rare.take();
      default -> others.take();
    };
  }

  /**
   * Sends a RST_STREAM at once: until it has left, Netty logs each frame that still comes of the
   * stream (DefaultHttp2ConnectionDecoder, at INFO). It does so still where the guest has let the
   * connection to it fill up.
   */
  @Override
  public void write(ChannelHandlerContext context, Object message, ChannelPromise promise) {
    boolean reset =
        message instanceof ByteBuf bytes
            && bytes.readableBytes() == RESET_BYTES
            && bytes.getByte(bytes.readerIndex() + 3) == RST_STREAM;
    var unused = context.write(message, promise);
    if (reset) {
      context.flush();
    }
  }
}
