// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.memory;

import dev.nacelle.kvm.sys.FileDescriptor;
import dev.nacelle.kvm.sys.IoVector;
import dev.nacelle.kvm.sys.Mapping;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.stream.Stream;

/**
 * The guest's RAM, by guest physical address. It starts at address 0; what does not fit below
 * {@link #HOLE_START} continues at {@link #HOLE_END}, so that devices have room below 4 GiB.
 *
 * <p>Every access is checked against the RAM there is, without overflow for any address and length;
 * outside of it is a {@link GuestAddressException}. Integers are little endian. The guest's vCPUs
 * write concurrently: two reads of one address may differ, so a header is read once and the copy
 * checked. Plain accessors have no ordering and need no alignment; where the guest can see or make
 * the difference (ring indices), use {@code ...Acquire} and {@code ...Release}. A store followed by
 * a load of another address, as in the event-index check of virtio 1.2 section 2.7.10, needs a
 * {@link VarHandle#fullFence()} between them, whichever accessors are used.
 *
 * <p>Safe for use from several threads, until {@link #close}: whoever closes must know that nobody
 * is inside an accessor. Accessors called later throw IllegalStateException; they never touch
 * memory that is no longer mapped.
 */
public final class GuestMemory implements AutoCloseable {
  /** Where RAM below 4 GiB ends at the latest: 3 GiB. */
  public static final long HOLE_START = 0xc000_0000L;

  /** Where RAM that did not fit below the hole continues: 4 GiB. */
  public static final long HOLE_END = 0x1_0000_0000L;

  private static final int PAGE = 4096;
  private static final int SLICE_BITS = 30;
  private static final long SLICE = 1L << SLICE_BITS;
  private static final int SLICE_MASK = (int) SLICE - 1;

  private static final VarHandle SHORT =
      MethodHandles.byteBufferViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);

  private final Mapping mapping;

  /** Whether it is all there, from its start to its end. */
  private final boolean reserved;

  private final long low;
  private final long high;

  /**
   * Slice n starts at offset n GiB of the mapping and reaches one page into the next, so that a
   * scalar never crosses slices.
   */
  private final ByteBuffer[] slices;

  /** A part of the mapping that has pages of a file. */
  private record FilePart(long start, long end) {}

  /** By ascending offsets, and apart; few. */
  private volatile List<FilePart> fileParts = List.of();

  private volatile boolean closed;

  private volatile boolean leaked;

  /** Takes over a mapping of whole pages, which come as they are touched. */
  GuestMemory(Mapping mapping) {
    this(mapping, false);
  }

  private GuestMemory(Mapping mapping, boolean reserved) {
    this.mapping = mapping;
    this.reserved = reserved;
    long size = mapping.length();
    low = Math.min(size, HOLE_START);
    high = size - low;
    slices = new ByteBuffer[(int) ((size + SLICE - 1) >>> SLICE_BITS)];
    for (int i = 0; i < slices.length; i++) {
      long start = (long) i << SLICE_BITS;
      slices[i] =
          mapping
              .buffer(start, (int) Math.min(SLICE + PAGE, size - start))
              .order(ByteOrder.LITTLE_ENDIAN);
    }
  }

  /**
   * Maps zeroed memory; the host gives pages when they are first touched. A guest's secrets are in
   * no core dump of this process, and in no child of it.
   *
   * @param size in bytes, a positive multiple of 4096
   * @throws dev.nacelle.kvm.sys.ErrnoException when the host refuses
   */
  public static GuestMemory allocate(long size) {
    if (size <= 0 || size % PAGE != 0) {
      throw new IllegalArgumentException("not a positive multiple of 4096 bytes: " + size);
    }
    return keptPrivate(Mapping.aligned(size), false);
  }

  /**
   * As {@link #allocate}, of huge pages that the host has reserved: all are taken at once, as
   * {@link Mapping#hugePages} says, and held until the end. No file can stand in place of them.
   *
   * @param size in bytes, a positive multiple of 2 MiB
   * @throws dev.nacelle.kvm.sys.ErrnoException when the host refuses
   */
  public static GuestMemory ofHugePages(long size) {
    if (size <= 0 || size % Mapping.HUGE_PAGE != 0) {
      throw new IllegalArgumentException("not a positive multiple of 2 MiB: " + size);
    }
    return keptPrivate(Mapping.hugePages(size), true);
  }

  private static GuestMemory keptPrivate(Mapping mapping, boolean reserved) {
    try {
      mapping.keepPrivate(0, mapping.length());
      return new GuestMemory(mapping, reserved);
    } catch (RuntimeException | Error e) {
      mapping.close();
      throw e;
    }
  }

  /** The size of the RAM in bytes. */
  public long size() {
    return low + high;
  }

  /** The end of the RAM that starts at address 0; at most {@link #HOLE_START}. */
  public long lowEnd() {
    return low;
  }

  /** The end of the RAM that starts at {@link #HOLE_END}; equal to it where there is none. */
  public long highEnd() {
    return HOLE_END + high;
  }

  /** Where memory slots come from: {@code visitor} gets each range of RAM with its mapping. */
  public void forEachRange(RangeVisitor visitor) {
    visitor.range(0, mapping, 0, low);
    if (high > 0) {
      visitor.range(HOLE_END, mapping, low, high);
    }
  }

  /** Sees one contiguous range of RAM. */
  @FunctionalInterface
  public interface RangeVisitor {
    /**
     * Called once for each range, in the order of their addresses.
     *
     * @param gpa its guest physical address
     * @param mapping the host memory behind it, from the offset on
     */
    void range(long gpa, Mapping mapping, long offset, long length);
  }

  /** Whether all bytes of a range are RAM, without crossing the hole. */
  public boolean contains(long gpa, long length) {
    return offset(gpa, length) >= 0;
  }

  /** Reads one byte. */
  public byte getByte(long gpa) {
    long offset = check(gpa, 1);
    return slice(offset).get(index(offset));
  }

  /** Writes one byte. */
  public void putByte(long gpa, byte value) {
    long offset = check(gpa, 1);
    slice(offset).put(index(offset), value);
  }

  /** Reads 2 bytes, without ordering. */
  public short getShort(long gpa) {
    long offset = check(gpa, 2);
    return slice(offset).getShort(index(offset));
  }

  /** Writes 2 bytes, without ordering. */
  public void putShort(long gpa, short value) {
    long offset = check(gpa, 2);
    slice(offset).putShort(index(offset), value);
  }

  /** Reads 4 bytes, without ordering. */
  public int getInt(long gpa) {
    long offset = check(gpa, 4);
    return slice(offset).getInt(index(offset));
  }

  /** Writes 4 bytes, without ordering. */
  public void putInt(long gpa, int value) {
    long offset = check(gpa, 4);
    slice(offset).putInt(index(offset), value);
  }

  /** Reads 8 bytes, without ordering. */
  public long getLong(long gpa) {
    long offset = check(gpa, 8);
    return slice(offset).getLong(index(offset));
  }

  /** Writes 8 bytes, without ordering. */
  public void putLong(long gpa, long value) {
    long offset = check(gpa, 8);
    slice(offset).putLong(index(offset), value);
  }

  /** Reads an aligned 2-byte integer; later accesses of this thread happen after it. */
  public short getShortAcquire(long gpa) {
    long offset = checkAlignedShort(gpa);
    return (short) SHORT.getAcquire(slice(offset), index(offset));
  }

  /** Writes an aligned 2-byte integer, after all earlier accesses of this thread. */
  public void putShortRelease(long gpa, short value) {
    long offset = checkAlignedShort(gpa);
    SHORT.setRelease(slice(offset), index(offset), value);
  }

  /** Copies guest memory to part of an array, without ordering. */
  public void getBytes(long gpa, byte[] destination, int start, int length) {
    long offset = check(gpa, length);
    for (int done = 0; done < length; ) {
      int n = untilNextSlice(offset + done, length - done);
      slice(offset + done).get(index(offset + done), destination, start + done, n);
      done += n;
    }
  }

  /** Copies part of an array to guest memory, without ordering. */
  public void putBytes(long gpa, byte[] source, int start, int length) {
    long offset = check(gpa, length);
    for (int done = 0; done < length; ) {
      int n = untilNextSlice(offset + done, length - done);
      slice(offset + done).put(index(offset + done), source, start + done, n);
      done += n;
    }
  }

  /**
   * Copies guest memory into a buffer at its position, which advances, without ordering.
   *
   * @throws java.nio.BufferOverflowException when the buffer has less than that remaining; nothing
   *     is copied
   */
  public void getBytes(long gpa, ByteBuffer destination, int length) {
    if (length > destination.remaining()) {
      throw new java.nio.BufferOverflowException();
    }
    long offset = check(gpa, length);
    for (int done = 0; done < length; ) {
      int n = untilNextSlice(offset + done, length - done);
      int position = destination.position();
      destination.put(position, slice(offset + done), index(offset + done), n);
      destination.position(position + n);
      done += n;
    }
  }

  /**
   * Copies from a buffer's position, which advances, to guest memory, without ordering.
   *
   * @throws java.nio.BufferUnderflowException when the buffer has less than that remaining; nothing
   *     is copied
   */
  public void putBytes(long gpa, ByteBuffer source, int length) {
    if (length > source.remaining()) {
      throw new java.nio.BufferUnderflowException();
    }
    long offset = check(gpa, length);
    for (int done = 0; done < length; ) {
      int n = untilNextSlice(offset + done, length - done);
      int position = source.position();
      slice(offset + done).put(index(offset + done), source, position, n);
      source.position(position + n);
      done += n;
    }
  }

  /**
   * Reads from a file straight into guest memory, until the length is reached or the file ends.
   *
   * @return the number of bytes read; less than length only at the end of the file
   * @throws dev.nacelle.kvm.sys.ErrnoException when the file cannot be read
   */
  public long readFrom(FileDescriptor file, long position, long gpa, long length) {
    return file.readAt(position, mapping, check(gpa, length), length);
  }

  /**
   * Adds a range to what the content of a file comes from or goes to. The memory must stay open
   * until the kernel no longer uses the vector.
   */
  public void addTo(IoVector vector, long gpa, long length) {
    vector.add(mapping, check(gpa, length), length);
  }

  /**
   * Has pages of a file, which must not change any more, stand in place of RAM, copied when the
   * guest or the host writes to them.
   *
   * @param position in the file, a multiple of 4096, as are the other two
   */
  public void mapCopyOnWrite(FileDescriptor file, long position, long gpa, long length) {
    long offset = check(gpa, length);
    mapping.mapCopyOnWrite(offset, file, position, length);
    mapping.keepPrivate(offset, length);
    // Not Comparator.comparingLong, as in ElfKernel.
    fileParts =
        Stream.concat(fileParts.stream(), Stream.of(new FilePart(offset, offset + length)))
            .sorted((a, b) -> Long.compare(a.start, b.start))
            .toList();
  }

  /**
   * Gives the host what a range takes, for the guest has no use for what is in it: it reads as
   * zeros, and takes memory again where it is touched. What has pages of a file stays as it is.
   *
   * @param gpa a multiple of 4096, as is the length
   */
  public void discard(long gpa, long length) {
    long from = check(gpa, length);
    long end = from + length;
    for (FilePart part : fileParts) {
      if (part.end > from && part.start < end) {
        if (part.start > from) {
          mapping.discard(from, part.start - from);
        }
        from = part.end;
      }
    }
    if (from < end) {
      mapping.discard(from, end - from);
    }
  }

  /**
   * How many bytes it takes of the host's memory now, as {@link Mapping#resident} counts; all, of
   * reserved huge pages.
   */
  public long resident() {
    return !reserved ? mapping.resident() : closed ? 0 : size();
  }

  /**
   * For a guest that will use most of its memory: it then faults once where it would 512 times, and
   * takes memory of the host in pieces of 2 MiB. Or never, whatever the host's default is.
   */
  public void preferHugePages(boolean preferred) {
    mapping.preferHugePages(preferred);
  }

  /** Fills a range with random bytes of the host's kernel. */
  public void fillRandom(long gpa, long length) {
    mapping.fillRandom(check(gpa, length), length);
  }

  /**
   * Has the memory stay mapped for as long as this process lives, because the kernel may write to
   * it at any time: for a disk that does not answer. Unmapped, the addresses could become somebody
   * else's memory.
   */
  public void leak() {
    leaked = true;
  }

  /**
   * Gives the host all that it takes, and keeps its addresses until {@link #close}, as {@link
   * Mapping#vacate} says. The caller must guarantee the same.
   *
   * @return false when the host refuses, or after {@link #leak}; it is to be closed then
   */
  public boolean giveBack() {
    closed = true;
    return !leaked && mapping.vacate();
  }

  /**
   * Unmaps, unless {@link #leak} was called. Idempotent. See the class comment for what the caller
   * must guarantee.
   */
  @Override
  public void close() {
    closed = true;
    if (!leaked) {
      mapping.close();
    }
  }

  private long check(long gpa, long length) {
    long offset = offset(gpa, length);
    if (offset < 0) {
      throw new GuestAddressException("not in the guest's RAM", gpa, length);
    }
    if (closed) {
      throw new IllegalStateException("the guest's memory is closed");
    }
    return offset;
  }

  private long checkAlignedShort(long gpa) {
    if ((gpa & 1) != 0) {
      throw new GuestAddressException("not aligned to its size", gpa, 2);
    }
    return check(gpa, 2);
  }

  /** The offset into the mapping, or -1. Addresses of 2^63 and above are negative: never RAM. */
  private long offset(long gpa, long length) {
    if (gpa >= 0 && length >= 0) {
      if (gpa < low) {
        return length <= low - gpa ? gpa : -1;
      }
      long above = gpa - HOLE_END;
      if (above >= 0 && above < high) {
        return length <= high - above ? low + above : -1;
      }
    }
    return -1;
  }

  private ByteBuffer slice(long offset) {
    return slices[(int) (offset >>> SLICE_BITS)];
  }

  private static int index(long offset) {
    return (int) offset & SLICE_MASK;
  }

  private static int untilNextSlice(long offset, int length) {
    return (int) Math.min(length, SLICE - index(offset));
  }
}
