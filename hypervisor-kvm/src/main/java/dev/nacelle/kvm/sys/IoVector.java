// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Pieces of mapped memory, as an array of struct iovec, that file content goes to or comes from. It
 * is worked off in windows: {@link #window} says how many bytes the next system call may transfer,
 * {@link #advance} how many it did.
 *
 * <p>The array is in memory that its owner keeps mapped until the kernel no longer reads it, as the
 * pieces are. Not safe for use from several threads. Nothing here allocates.
 */
public final class IoVector {
  /** Size of a struct iovec: base and length. */
  public static final int SEGMENT_BYTES = 16;

  private static final int LENGTH = 8;
  private static final int NONE = -1;

  private final ByteBuffer array;
  private final long arrayAddress;
  private final int capacity;

  private int count;
  private long remaining;

  /** The first segment with bytes left, and the first behind the window. */
  private int first;

  private int end;

  /** The segment that the window ends in, shortened for that; and what its length was. */
  private int cut = NONE;

  private long lengthOfCut;

  /**
   * @param mapping where the array is
   * @param offset of it
   * @param capacity in segments; IOV_MAX, 1024, at most
   */
  public IoVector(Mapping mapping, long offset, int capacity) {
    int bytes = capacity * SEGMENT_BYTES;
    array = mapping.buffer(offset, bytes).order(ByteOrder.LITTLE_ENDIAN);
    arrayAddress = mapping.address(offset, bytes);
    this.capacity = capacity;
  }

  /** Forgets all segments. */
  public void clear() {
    count = 0;
    remaining = 0;
    first = 0;
    end = 0;
    cut = NONE;
  }

  /**
   * Adds a piece.
   *
   * @throws IndexOutOfBoundsException when it is not inside of the mapping, or there is no room
   */
  public void add(Mapping mapping, long offset, long length) {
    if (count == capacity) {
      throw new IndexOutOfBoundsException("a vector of " + capacity + " segments is full");
    }
    array.putLong(count * SEGMENT_BYTES, mapping.address(offset, length));
    putLength(count, length);
    count++;
    remaining += length;
  }

  /** How many bytes are left. */
  public long remaining() {
    return remaining;
  }

  /**
   * Makes the next bytes the window.
   *
   * @param limit how many at most, positive
   * @return how many there are in it
   */
  public long window(long limit) {
    restoreCut();
    long bytes = 0;
    end = first;
    while (end < count && bytes < limit) {
      long length = length(end);
      if (length > limit - bytes) {
        cut = end;
        lengthOfCut = length;
        length = limit - bytes;
        putLength(end, length);
      }
      bytes += length;
      end++;
    }
    return bytes;
  }

  /** Takes bytes away from the start, which a system call has transferred. */
  public void advance(long bytes) {
    restoreCut();
    remaining -= bytes;
    while (bytes > 0) {
      long length = length(first);
      if (bytes < length) {
        int at = first * SEGMENT_BYTES;
        array.putLong(at, array.getLong(at) + bytes);
        putLength(first, length - bytes);
        return;
      }
      bytes -= length;
      first++;
    }
  }

  private void restoreCut() {
    if (cut != NONE) {
      putLength(cut, lengthOfCut);
      cut = NONE;
    }
  }

  private long length(int segment) {
    return array.getLong(segment * SEGMENT_BYTES + LENGTH);
  }

  private void putLength(int segment, long length) {
    array.putLong(segment * SEGMENT_BYTES + LENGTH, length);
  }

  /** Of the window. */
  long address() {
    return arrayAddress + (long) first * SEGMENT_BYTES;
  }

  /** How many segments the window has. */
  int segments() {
    return end - first;
  }
}
