// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.IoVector;
import dev.nacelle.kvm.sys.Mapping;

/**
 * One request of the driver, as steps that follow each other: slices of its data, or its ranges;
 * then, where what it wrote has to be stable, a sync.
 *
 * <p>Made with the device and used again and again; whatever the guest said is a checked copy here.
 * {@link RequestReader} sets it up, {@link #proceed} gives the next step, {@link #ended} takes what
 * came of it.
 */
final class Request {
  /**
   * The most bytes of a step: a request can have 2 GiB, and the end of the device waits for a step.
   */
  static final int SLICE_BYTES = 1 << 20;

  /** How often a step is tried again that the host says to try again. */
  private static final int ATTEMPTS = 16;

  /** No step that failed. */
  private static final int NONE = 1;

  private final int index;
  private final IoVector vector;
  private final Mapping zeros;
  private final long zerosOffset;
  private final int zerosLength;

  private int head;
  private long statusAddress;
  private long room;
  private Status status = Status.OK;
  private int written;

  private Step step = Step.SYNC;
  private long position;
  private long length;
  private int attempts;

  /** As {@link #refusal()}. */
  private int refusal = NONE;

  /** Which way the data in the vector goes. */
  private Step transfer = Step.READ;

  private boolean syncs;

  /** Ranges to discard or to zero, and which of them is next; in bytes. */
  private final long[] starts = new long[Disk.MAX_RANGES];

  private final long[] lengths = new long[Disk.MAX_RANGES];
  private final Step[] means = new Step[Disk.MAX_RANGES];
  private int ranges;
  private int range;
  private boolean rangesAreHints;

  private boolean underWay;
  private boolean orphaned;

  /**
   * @param vector for its data
   * @param zeros a mapping with zeros, from the offset on
   */
  Request(int index, IoVector vector, Mapping zeros, long zerosOffset, int zerosLength) {
    this.index = index;
    this.vector = vector;
    this.zeros = zeros;
    this.zerosOffset = zerosOffset;
    this.zerosLength = zerosLength;
  }

  /** Which of the device's requests it is. */
  int index() {
    return index;
  }

  /**
   * Begins: a request that asks for nothing.
   *
   * @param statusAddress the guest physical address of its status
   * @param room how many bytes the device may write besides
   */
  void begin(int head, long statusAddress, long room) {
    this.head = head;
    this.statusAddress = statusAddress;
    this.room = room;
    status = Status.OK;
    refusal = NONE;
    written = 0;
    attempts = 0;
    vector.clear();
    syncs = false;
    ranges = 0;
    range = 0;
  }

  /** Fails, or is not supported: no step follows. */
  void fail(Status why) {
    status = why;
  }

  /** Has written to the guest, from the start of its buffer. */
  void answered(int bytes) {
    written = bytes;
  }

  /** Transfers what is in the vector, from or to that position of the image. */
  void transfer(Step direction, long from) {
    transfer = direction;
    position = from;
  }

  /** Ends with a sync. */
  void syncAtEnd() {
    syncs = true;
  }

  /**
   * Ranges follow.
   *
   * @param hints whether it does not matter when the host cannot
   */
  void ranges(boolean hints) {
    rangesAreHints = hints;
  }

  /** Adds one, of which there is at least a byte. */
  void addRange(Step means, long start, long length) {
    this.means[ranges] = means;
    starts[ranges] = start;
    lengths[ranges] = length;
    ranges++;
  }

  /** Makes the next step the current one; false when the request has ended. */
  boolean proceed() {
    if (status != Status.OK) {
      return false;
    }
    if (vector.remaining() > 0) {
      step = transfer;
      length = vector.window(SLICE_BYTES);
      return true;
    }
    if (range < ranges) {
      position = starts[range];
      length = lengths[range];
      step = means[range];
      if (step == Step.WRITE) {
        writeZeros();
      }
      return true;
    }
    step = Step.SYNC;
    return syncs;
  }

  /** Part of a range, as data: where the host has no call for it. */
  private void writeZeros() {
    vector.clear();
    for (long left = Math.min(length, SLICE_BYTES); left > 0; left -= zerosLength) {
      vector.add(zeros, zerosOffset, Math.min(left, zerosLength));
    }
    transfer = Step.WRITE;
    length = vector.window(SLICE_BYTES);
  }

  /**
   * Takes the result of the step.
   *
   * @param result bytes transferred, or 0; or a negated error number
   */
  void ended(int result) {
    if ((result == -Errno.EINTR || result == -Errno.EAGAIN) && ++attempts < ATTEMPTS) {
      return;
    }
    attempts = 0;
    switch (step) {
      case READ, WRITE -> transferred(result);
      case PUNCH, ZERO -> rangeEnded(result);
      case SYNC -> {
        syncs = false;
        if (result < 0) {
          refuse(result);
        }
      }
    }
  }

  private void transferred(int result) {
    if (result <= 0) {
      refuse(result);
      return;
    }
    vector.advance(result);
    position += result;
    if (range < ranges) {
      starts[range] += result;
      lengths[range] -= result;
      if (lengths[range] == 0) {
        range++;
      }
    } else if (step == Step.READ) {
      written += result;
    }
  }

  private void rangeEnded(int result) {
    if (result == 0) {
      range++;
    } else if (result != -Errno.EOPNOTSUPP && result != -Errno.ENOSYS) {
      refuse(result);
    } else if (rangesAreHints) {
      range++;
    } else {
      means[range] = step == Step.PUNCH ? Step.ZERO : Step.WRITE;
    }
  }

  private void refuse(int result) {
    status = Status.IO_ERROR;
    refusal = result;
  }

  /** Whether it is the host that it failed by, and not what the guest asked for. */
  boolean isRefused() {
    return refusal != NONE;
  }

  /**
   * What the host answered to the step that failed: a negated error number, or 0 for the end of a
   * file that somebody made shorter; 1 where none did.
   */
  int refusal() {
    return refusal;
  }

  /** What to do; after {@link #proceed}. */
  Step step() {
    return step;
  }

  /** Where in the image, in bytes. */
  long position() {
    return position;
  }

  /** Of the step, in bytes. */
  long length() {
    return length;
  }

  /** What is read into or written from. */
  IoVector vector() {
    return vector;
  }

  int head() {
    return head;
  }

  long statusAddress() {
    return statusAddress;
  }

  Status status() {
    return status;
  }

  /** How many bytes the device wrote from the start of the buffer, the status included. */
  int written() {
    return written == room ? written + 1 : written;
  }

  /** Whether its step is being done in the background. */
  boolean isUnderWay() {
    return underWay;
  }

  void underWay(boolean now) {
    underWay = now;
  }

  /** Whether its queue is gone, and nobody waits for it but the device. */
  boolean isOrphaned() {
    return orphaned;
  }

  void orphaned(boolean now) {
    orphaned = now;
  }
}
