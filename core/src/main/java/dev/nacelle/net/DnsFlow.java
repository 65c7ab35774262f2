// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.net.FrameException.Violation;
import dev.nacelle.net.Frames.Reset;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.NetworkEvent.End;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Queue;
import org.jspecify.annotations.Nullable;

/**
 * A connection of the guest's to its resolver, which ends here (RFC 7766): several questions, each
 * answered when its answer is there. On the loop.
 *
 * <p>Questions wait while the guest does not take answers, or many are being asked: then it gets no
 * credit, so that what waits is at most a window.
 */
final class DnsFlow extends Flow {
  static final int WINDOW = 16 << 10;

  /** Answers that wait for the guest, in bytes. */
  private static final int MOST_QUEUED = 64 << 10;

  /** How long nothing is asked until it ends; twice as long at most. */
  private static final Duration IDLE = Duration.ofSeconds(10);

  private final FlowTable table;
  private final DnsService service;
  private final GuestWindow fromGuest = new GuestWindow(WINDOW);
  private final Credit toGuest;
  private final Duration patience;
  private final DnsMessage.Stream stream = new DnsMessage.Stream();
  private final Queue<ByteBuffer> answers = new ArrayDeque<>();
  private final ReadableByteChannel content = new Answers();
  private GuestDeadlines.@Nullable Deadline deadline;

  /** What the guest has sent and is not taken yet: from the start to its position. */
  private @Nullable ByteBuffer held;

  private int queued;
  private int asked;
  private long received;
  private boolean used;
  private boolean takes;
  private boolean waitsForRoom;
  private boolean guestFin;
  private boolean toldFin;
  private boolean over;

  /**
   * @param toGuest what the guest takes
   */
  DnsFlow(FlowTable table, DnsService service, int id, FlowInfo info, Credit toGuest) {
    this(table, service, id, info, toGuest, IDLE);
  }

  /**
   * @param patience how long nothing may be asked or taken
   */
  DnsFlow(
      FlowTable table,
      DnsService service,
      int id,
      FlowInfo info,
      Credit toGuest,
      Duration patience) {
    super(id, info);
    this.patience = patience;
    this.table = table;
    this.service = service;
    this.toGuest = toGuest;
    deadline = table.expect(this, this::idle, patience);
  }

  @Override
  boolean isOfPolicy() {
    return false;
  }

  @Override
  boolean isOpen() {
    return true;
  }

  @Override
  long sent() {
    return fromGuest.sent();
  }

  @Override
  long received() {
    return received;
  }

  @Override
  int window() {
    return fromGuest.size();
  }

  @Override
  String said() {
    return "";
  }

  @Override
  @Nullable DenialReason decided(Decision decision) {
    return null;
  }

  @Override
  void accepted(int window) throws FrameException {
    throw new FrameException(Violation.NOT_ASKED, "ACCEPTED of flow " + this);
  }

  @Override
  void data(ByteBuffer bytes) throws FrameException, IOException {
    if (guestFin) {
      throw new FrameException(Violation.NOT_OPEN, "DATA of flow " + this);
    }
    int count = bytes.remaining();
    fromGuest.use(count);
    if (toldFin) {
      return;
    }
    used = true;
    ByteBuffer waiting = held;
    if (waiting == null) {
      take(bytes);
      if (bytes.hasRemaining() && !over) {
        held = ByteBuffer.allocate(WINDOW).put(bytes);
      }
    } else {
      waiting.put(bytes);
    }
    goOn();
  }

  private void take(ByteBuffer bytes) throws IOException {
    takes = true;
    try {
      while (!over && asked < Resolver.MOST && queued < MOST_QUEUED) {
        byte[] message = stream.next(bytes);
        if (message == null) {
          break;
        }
        asked++;
        service.ask(message, true, this::answered);
      }
    } catch (DnsException e) {
      throw new IOException(e.getMessage(), e);
    } finally {
      takes = false;
    }
  }

  private void answered(byte @Nullable [] message) {
    asked--;
    if (over) {
      return;
    }
    used = true;
    if (message != null) {
      int length = message.length;
      answers.add(ByteBuffer.allocate(2 + length).putShort((short) length).put(message).flip());
      queued += 2 + length;
    }
    if (!takes) {
      try {
        goOn();
      } catch (IOException e) {
        table.broken(this);
      }
    }
  }

  /** Sends what there is, and takes what there is room for. */
  private void goOn() throws IOException {
    while (!over) {
      send();
      ByteBuffer waiting = held;
      if (waiting == null) {
        break;
      }
      int before = waiting.position();
      take(waiting.flip());
      waiting.compact();
      held = waiting.position() == 0 ? null : waiting;
      if (waiting.position() == before) {
        break;
      }
    }
    giveCredit();
    finishIfDone();
  }

  private void send() throws IOException {
    while (!over && queued > 0 && toGuest.left() > 0 && !waitsForRoom) {
      int count = table.link().send(id, content, toGuest.left());
      if (count == GuestLink.NO_ROOM) {
        waitsForRoom = true;
        table.waitsForRoom(this);
        return;
      }
      toGuest.spend(count);
      received += count;
      used = true;
    }
  }

  private void giveCredit() {
    ByteBuffer waiting = held;
    boolean isOver = over || guestFin || toldFin;
    int amount = isOver ? 0 : fromGuest.give(waiting == null ? 0 : waiting.position());
    if (amount > 0) {
      table.link().sendCredit(id, amount);
    }
  }

  private void finishIfDone() {
    if (!over && guestFin && asked == 0 && queued == 0 && held == null) {
      if (!toldFin) {
        table.link().sendFin(id);
      }
      table.over(this, End.FINISHED);
    }
  }

  @Override
  void fin() throws FrameException {
    if (guestFin) {
      throw new FrameException(Violation.NOT_OPEN, "FIN of flow " + this);
    }
    guestFin = true;
    finishIfDone();
  }

  @Override
  void credit(int amount) throws FrameException {
    toGuest.add(amount);
    again();
  }

  @Override
  void hasRoom() {
    waitsForRoom = false;
    again();
  }

  private void again() {
    try {
      goOn();
    } catch (IOException e) {
      table.broken(this);
    }
  }

  private void idle() {
    if (asked == 0 && !used) {
      if (queued > 0 || toldFin) {
        table.link().sendReset(id, Reset.STALLED);
        table.over(this, End.STALLED);
      } else {
        toldFin = true;
        table.link().sendFin(id);
        finishIfDone();
      }
    }
    used = false;
    deadline = over ? null : table.expect(this, this::idle, patience);
    table.flush();
  }

  @Override
  void close(boolean abruptly) {
    if (over) {
      return;
    }
    over = true;
    answers.clear();
    queued = 0;
    held = null;
    if (deadline != null) {
      deadline.cancel();
    }
    service.streamEnded();
  }

  /** What waits for the guest. */
  private final class Answers implements ReadableByteChannel {
    @Override
    public int read(ByteBuffer into) {
      int before = into.position();
      for (ByteBuffer first = answers.peek();
          first != null && into.hasRemaining();
          first = answers.peek()) {
        int count = Math.min(first.remaining(), into.remaining());
        into.put(into.position(), first, first.position(), count);
        into.position(into.position() + count);
        first.position(first.position() + count);
        if (!first.hasRemaining()) {
          answers.remove();
        }
      }
      queued -= into.position() - before;
      return into.position() - before;
    }

    @Override
    public boolean isOpen() {
      return !over;
    }

    @Override
    public void close() {
      // It is the flow's.
    }
  }
}
