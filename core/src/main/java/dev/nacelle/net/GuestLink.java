// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Ip;
import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A network's stream of frames from and to the guest. On its loop. Memory is bounded by one buffer,
 * which it has while something waits in it: content waits in sockets while there is no room, and a
 * guest that does not take what else it is told is not read either.
 */
final class GuestLink {
  /** Room that is kept for frames without content. */
  private static final int RESERVED_BYTES = 64 << 10;

  /** Less room than that is none, for content. */
  private static final int SMALLEST_ROOM = 4 << 10;

  private static final ByteBuffer NONE = ByteBuffer.allocate(0);

  /** What there was no room for. */
  static final int NO_ROOM = Integer.MIN_VALUE;

  /** Gets what comes. */
  interface Handler extends FrameHandler {
    /** There is room again, which there was not. */
    void hasRoom();

    /**
     * It has ended, and is of no use any more. Called once.
     *
     * @param byFault whether the guest did what it must not, rather than that the stream ended
     */
    void ended(String why, boolean byFault);
  }

  private final NetworkLoop loop;
  private final GuestConnection connection;
  private final Handler handler;
  private final LoopBuffers buffers;
  private final FrameDecoder decoder = new FrameDecoder(Frames.Side.GUEST, Frames.MAX_DATA);
  private final AtomicBoolean queued = new AtomicBoolean();
  private final Runnable task = this::happened;
  private int maxData;

  /** What waits for the guest, from {@link #sent} to its position; none where nothing does. */
  private ByteBuffer out = NONE;

  private int sent;
  private boolean wasFull;
  private boolean waitsToRead;
  private boolean over;

  GuestLink(NetworkLoop loop, GuestConnection connection, Handler handler) {
    this.loop = loop;
    this.connection = connection;
    this.handler = handler;
    buffers = loop.buffers();
  }

  /** The guest has said what it takes. */
  void greeted(Frames.Hello guest) {
    maxData = guest.maxData();
  }

  /** Begins to read. */
  void listen() {
    connection.setEventListener(this::onEvent);
  }

  private void onEvent() {
    if (queued.compareAndSet(false, true)) {
      try {
        loop.execute(task);
      } catch (RejectedExecutionException e) {
        connection.close();
      }
    }
  }

  private void happened() {
    queued.set(false);
    flush();
    if (over) {
      return;
    }
    try {
      int most = mayRead();
      if (most == 0) {
        return;
      }
      ByteBuffer received = buffers.received().limit(most);
      int count = connection.read(received);
      if (count < 0) {
        end("the guest has ended it");
        return;
      }
      decoder.feed(received.flip(), handler);
      flush();
      if (count > 0) {
        // There may be more: after the turn of others.
        onEvent();
      }
    } catch (FrameException e) {
      end(String.valueOf(e.getMessage()), true);
    } catch (IOException e) {
      end(String.valueOf(e.getMessage()));
    } catch (RuntimeException | Error e) {
      // What was read may be half done, and what follows would be taken for something else.
      end("a fault at the host: " + e);
      throw e;
    }
  }

  /**
   * How many bytes may be read of the guest: no more than there is room for answers, of which none
   * is twice as long as what it answers. A guest that does not take them is not heard either.
   */
  private int mayRead() {
    int room = LoopBuffers.SENT_BYTES - (out.position() - sent);
    waitsToRead = room < SMALLEST_ROOM;
    return waitsToRead ? 0 : Math.min(LoopBuffers.RECEIVED_BYTES, room / 2);
  }

  /**
   * Sends what a channel has, as one frame of content.
   *
   * @param most bytes that the guest takes
   * @return as {@link ReadableByteChannel#read}, or {@link #NO_ROOM}: then the handler is told when
   *     there is
   */
  int send(int flow, ReadableByteChannel content, int most) throws IOException {
    int start = roomForContent();
    if (start < 0) {
      return NO_ROOM;
    }
    int body = start + Frames.HEADER;
    int room = Math.min(maxData, out.capacity() - RESERVED_BYTES - body);
    out.position(body).limit(body + Math.min(most, room));
    int count = 0;
    try {
      count = content.read(out);
    } finally {
      out.limit(out.capacity());
      out.position(start);
      if (count > 0) {
        Frames.putDataHeader(out, flow, count);
        out.position(body + count);
      }
    }
    return count;
  }

  /** The last bytes of content that were sent; to be looked at before anything else is done. */
  ByteBuffer lastContent(int count) {
    return out.duplicate().limit(out.position()).position(out.position() - count);
  }

  /** Where content begins; -1 where there is no room. */
  private int roomForContent() {
    if (over) {
      return -1;
    }
    begin();
    if (contentRoom() < 0) {
      moveToTheBeginning();
    }
    if (contentRoom() < 0) {
      wasFull = true;
      return -1;
    }
    return out.position();
  }

  /** How much more than the least there is at the end; negative where it is less. */
  private int contentRoom() {
    return out.capacity() - RESERVED_BYTES - out.position() - Frames.HEADER - SMALLEST_ROOM;
  }

  /**
   * A datagram; it is dropped where there is no room.
   *
   * @return whether it was not
   */
  boolean sendDatagram(Place place, ByteBuffer content) {
    int length = content.remaining();
    int needed = Frames.HEADER + Frames.ADDRESS_BYTES + length;
    if (roomForContent() < 0) {
      return false;
    }
    if (out.capacity() - RESERVED_BYTES - out.position() < needed) {
      moveToTheBeginning();
      if (out.capacity() - RESERVED_BYTES - out.position() < needed) {
        return false;
      }
    }
    Ip remote = place.remote();
    Frames.putMessageHead(
        out,
        Frames.DGRAM,
        remote.v6(),
        remote.high(),
        remote.low(),
        place.remotePort(),
        place.localPort(),
        false,
        length);
    out.put(content);
    return true;
  }

  /** Says that a datagram or an echo was refused. */
  void sendRefused(int type, Place place) {
    if (hasRoomFor(Frames.ADDRESS_BYTES)) {
      Ip remote = place.remote();
      Frames.putMessageHead(
          out,
          type,
          remote.v6(),
          remote.high(),
          remote.low(),
          place.remotePort(),
          place.localPort(),
          true,
          0);
    }
  }

  void sendHello(Frames.Hello hello) {
    if (hasRoomFor(32)) {
      Frames.putHello(out, hello);
    }
  }

  void sendOpened(int flow, int window) {
    if (hasRoomFor(4)) {
      Frames.putOpened(out, Frames.OPENED, flow, window);
    }
  }

  void sendAccept(int flow, Place place, int window) {
    if (hasRoomFor(Frames.ADDRESS_BYTES + 4)) {
      Ip remote = place.remote();
      Frames.putOpen(
          out,
          Frames.ACCEPT,
          flow,
          remote.v6(),
          remote.high(),
          remote.low(),
          place.remotePort(),
          place.localPort(),
          window);
    }
  }

  void sendRefused(int flow, Frames.Refusal why) {
    if (hasRoomFor(4)) {
      Frames.putRefused(out, flow, why);
    }
  }

  /** Tells people in the guest something, where there is room for that. */
  void sendDenial(byte[] line) {
    int start = roomForContent();
    if (start >= 0) {
      Frames.putDenial(out, line);
    }
  }

  void sendFin(int flow) {
    if (hasRoomFor(0)) {
      Frames.putFin(out, flow);
    }
  }

  void sendReset(int flow, Frames.Reset why) {
    if (hasRoomFor(4)) {
      Frames.putReset(out, flow, why);
    }
  }

  void sendCredit(int flow, int amount) {
    if (hasRoomFor(0)) {
      Frames.putCredit(out, flow, amount);
    }
  }

  /** Whether a frame without content can be told; ends the link where it cannot. */
  private boolean hasRoomFor(int payload) {
    if (over) {
      return false;
    }
    begin();
    if (out.remaining() < Frames.HEADER + payload) {
      moveToTheBeginning();
      if (out.remaining() < Frames.HEADER + payload) {
        end("the guest does not take what it is told", true);
      }
    }
    return !over;
  }

  /** Something may be going to wait. */
  private void begin() {
    if (out.capacity() == 0) {
      out = buffers.take();
    }
  }

  /** Nothing waits. */
  private void finish() {
    if (out.capacity() > 0) {
      buffers.giveBack(out);
      out = NONE;
    }
    sent = 0;
  }

  private void moveToTheBeginning() {
    if (sent > 0) {
      out.limit(out.position()).position(sent);
      out.compact();
      sent = 0;
    }
  }

  /** Sends what waits, as far as the guest takes it. */
  void flush() {
    if (over) {
      return;
    }
    int end = out.position();
    if (sent == end) {
      finish();
      return;
    }
    try {
      out.limit(end).position(sent);
      connection.write(out);
      sent = out.position();
      out.limit(out.capacity()).position(end);
    } catch (IOException e) {
      end(String.valueOf(e.getMessage()));
      return;
    } catch (RuntimeException | Error e) {
      // How much of it the guest has got is not known.
      end("a fault at the host: " + e);
      throw e;
    }
    if (sent == end) {
      finish();
    }
    boolean hasRoom = out.position() - sent < LoopBuffers.SENT_BYTES / 2;
    if (waitsToRead && hasRoom) {
      waitsToRead = false;
      onEvent();
    }
    if (wasFull && hasRoom) {
      wasFull = false;
      handler.hasRoom();
    }
  }

  /** Ends it; the handler is told. */
  void end(String why) {
    end(why, false);
  }

  private void end(String why, boolean byFault) {
    if (!over) {
      over = true;
      connection.close();
      finish();
      handler.ended(why, byFault);
    }
  }
}
