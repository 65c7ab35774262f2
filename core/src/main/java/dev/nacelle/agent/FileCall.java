// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import com.google.protobuf.ByteString;
import dev.nacelle.agent.AgentException.Kind;
import dev.nacelle.proto.agent.v1.FileEnd;
import dev.nacelle.proto.agent.v1.FileOperation;
import dev.nacelle.proto.agent.v1.FilePart;
import dev.nacelle.proto.agent.v1.FileParts;
import dev.nacelle.proto.agent.v1.FileRequest;
import dev.nacelle.proto.agent.v1.FileResponse;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.Future;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * One UseFiles call, for a thread that waits: it sends what there is to send, then {@link #end()},
 * and reads parts until there are no more. What it holds is a message each way and HTTP/2's
 * windows. One thread at a time uses it; {@link #close()} may come from any.
 */
public final class FileCall implements AutoCloseable {
  /** Bytes of a message's parts, as the contract bounds them. */
  private static final int BATCH_BYTES = 64 * 1024;

  /** About what an entry takes beside its names. */
  private static final int ENTRY_BYTES = 64;

  /** Part of a file, or its beginning. */
  public sealed interface Part {
    /** A file begins. */
    record Entry(FileEntry entry) implements Part {}

    /** Bytes of its content; the buffer is the receiver's, and can be read only. */
    record Data(ByteBuffer bytes) implements Part {}

    /** So many zeros of its content; not negative. */
    record Hole(long bytes) implements Part {}

    /**
     * Where the file has data whose entry comes next: lengths in bytes of holes and data in turn,
     * as the guest says them.
     */
    record Map(List<Long> runs) implements Part {}
  }

  /** How long a call that has its last message may take to end. */
  private static final Duration FAREWELL = Duration.ofSeconds(5);

  private final ClientCall<FileRequest, FileResponse> call;
  private final GuestTimers timers;
  private final Function<Status, AgentException> failures;

  /** What the guest sent that was not taken yet; at most one message. */
  private final Deque<FilePart> received = new ArrayDeque<>(); // guarded by this

  private boolean done; // guarded by this
  private @Nullable FileFailedException failed; // guarded by this
  private @Nullable AgentException broken; // guarded by this
  private boolean ended; // guarded by this: the call's status is here
  private boolean cancelled; // guarded by this

  private @Nullable Future<?> timer; // guarded by this

  private FileParts.Builder batch = FileParts.newBuilder();
  private int batchBytes;

  /**
   * @param deadline from now on, after which it is given up; null for never
   */
  FileCall(
      ClientCall<FileRequest, FileResponse> call,
      FileOperation operation,
      Function<Status, AgentException> failures,
      GuestTimers timers,
      @Nullable Duration deadline) {
    this.call = call;
    this.timers = timers;
    this.failures = failures;
    call.start(new Responses(), new Metadata());
    call.sendMessage(FileRequest.newBuilder().setStart(operation).build());
    call.request(1);
    if (deadline != null) {
      timer(this::giveUp, deadline);
    }
  }

  private void timer(Runnable task, Duration delay) {
    Future<?> started = timers.schedule(task, delay);
    Future<?> before;
    synchronized (this) {
      before = ended ? started : timer;
      timer = started;
    }
    if (before != null) {
      before.cancel(false);
    }
  }

  private void giveUp() {
    synchronized (this) {
      if (ended || cancelled || done || failed != null) {
        return;
      }
      broken = new AgentException(Kind.TIMED_OUT, "the guest agent did not answer in time");
      cancelled = true;
      notifyAll();
    }
    cancel();
  }

  /** A call that has failed already. */
  FileCall(ClientCall<FileRequest, FileResponse> call, AgentException refusal, GuestTimers timers) {
    this.call = call;
    this.timers = timers;
    failures = status -> refusal;
    broken = refusal;
    cancelled = true;
    ended = true;
  }

  /** Sends the beginning of a file. */
  public void entry(FileEntry entry)
      throws AgentException, FileFailedException, InterruptedException {
    var sent = entry.toProto();
    int bytes = ENTRY_BYTES + sent.getSerializedSize();
    makeRoom(bytes);
    add(FilePart.newBuilder().setEntry(sent), bytes);
  }

  /** Sends bytes of its content, which are copied. */
  public void data(byte[] bytes, int offset, int length)
      throws AgentException, FileFailedException, InterruptedException {
    int from = offset;
    while (from < offset + length) {
      if (batchBytes >= BATCH_BYTES - ENTRY_BYTES) {
        flush();
      }
      int count = Math.min(offset + length - from, BATCH_BYTES - batchBytes);
      add(FilePart.newBuilder().setData(ByteString.copyFrom(bytes, from, count)), count);
      from += count;
    }
  }

  /** Sends so many zeros of its content. */
  public void hole(long bytes) throws AgentException, FileFailedException, InterruptedException {
    makeRoom(ENTRY_BYTES);
    add(FilePart.newBuilder().setHole(bytes), ENTRY_BYTES);
  }

  private void makeRoom(int bytes)
      throws AgentException, FileFailedException, InterruptedException {
    if (batchBytes > 0 && batchBytes + bytes > BATCH_BYTES) {
      flush();
    }
  }

  private void add(FilePart.Builder part, int bytes) {
    batch.addParts(part);
    batchBytes += bytes;
  }

  /** Says that all was sent. */
  public void end() throws AgentException, FileFailedException, InterruptedException {
    flush();
    send(FileRequest.newBuilder().setEnd(FileEnd.getDefaultInstance()).build());
    synchronized (this) {
      if (!cancelled) {
        call.halfClose();
      }
    }
  }

  private void flush() throws AgentException, FileFailedException, InterruptedException {
    if (batchBytes > 0) {
      FileRequest request = FileRequest.newBuilder().setParts(batch).build();
      batch = FileParts.newBuilder();
      batchBytes = 0;
      send(request);
    }
  }

  private synchronized void send(FileRequest request)
      throws AgentException, FileFailedException, InterruptedException {
    while (!ended && !cancelled && failed == null && !call.isReady()) {
      wait();
    }
    requireGoingOn();
    call.sendMessage(request);
  }

  /** Returns while more can be sent; throws why not. */
  public synchronized void requireGoingOn() throws AgentException, FileFailedException {
    throwFailure();
    if (ended || cancelled || done) {
      throw new AgentException(Kind.MISBEHAVED, "the guest agent was done before all was sent");
    }
  }

  /** Waits for what the guest says next; null when it has done what it was to do. */
  public @Nullable Part next() throws AgentException, FileFailedException, InterruptedException {
    FilePart part;
    synchronized (this) {
      while (received.isEmpty() && !done && failed == null && broken == null && !ended) {
        wait();
      }
      part = received.poll();
      if (part == null) {
        throwFailure();
        if (!done) {
          throw new AgentException(
              cancelled ? Kind.CANCELLED : Kind.MISBEHAVED,
              cancelled ? "the call was closed" : "the guest agent did not say what came of it");
        }
        return null;
      }
      if (received.isEmpty() && !done && failed == null) {
        call.request(1);
      }
    }
    return switch (part.getPartCase()) {
      case ENTRY -> new Part.Entry(FileEntry.of(part.getEntry()));
      case DATA -> new Part.Data(part.getData().asReadOnlyByteBuffer());
      case HOLE -> {
        if (part.getHole() < 0) {
          throw new AgentException(Kind.MISBEHAVED, "the guest agent told of a hole of 2^63 bytes");
        }
        yield new Part.Hole(part.getHole());
      }
      case MAP -> new Part.Map(part.getMap().getRunsList());
      case PART_NOT_SET ->
          throw new AgentException(Kind.MISBEHAVED, "the guest agent sent an unknown part");
    };
  }

  private void throwFailure() throws AgentException, FileFailedException {
    if (failed != null) {
      throw failed;
    }
    if (broken != null) {
      throw broken;
    }
  }

  /** Ends it, if it has not ended: the guest gives up what it does. Idempotent. */
  @Override
  public void close() {
    boolean answered;
    synchronized (this) {
      if (cancelled || ended) {
        return;
      }
      answered = done || failed != null;
      cancelled = true;
      notifyAll();
    }
    if (!answered) {
      cancel();
      return;
    }
    // Its status is on its way, or should be.
    timer(this::cancel, FAREWELL);
  }

  private void cancel() {
    call.cancel("the host has no more use for it", null);
  }

  private final class Responses extends ClientCall.Listener<FileResponse> {
    @Override
    public void onMessage(FileResponse response) {
      synchronized (FileCall.this) {
        switch (response.getResponseCase()) {
          case PARTS -> {
            received.addAll(response.getParts().getPartsList());
            if (response.getParts().getPartsCount() == 0) {
              broken = new AgentException(Kind.MISBEHAVED, "the guest agent sent no parts");
            }
          }
          case DONE -> done = true;
          case FAILURE -> failed = new FileFailedException(response.getFailure());
          case RESPONSE_NOT_SET ->
              broken =
                  new AgentException(Kind.MISBEHAVED, "the guest agent sent an unknown answer");
        }
        FileCall.this.notifyAll();
        if (done || failed != null) {
          // Of which there is none: it is for the status.
          call.request(1);
        }
      }
    }

    @Override
    public void onReady() {
      synchronized (FileCall.this) {
        FileCall.this.notifyAll();
      }
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      synchronized (FileCall.this) {
        ended = true;
        if (timer != null) {
          timer.cancel(false);
        }
        if (!done && failed == null && broken == null && !status.isOk()) {
          broken = failures.apply(status);
        }
        FileCall.this.notifyAll();
      }
    }
  }
}
