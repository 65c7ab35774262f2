// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.sys.ErrnoException;
import dev.nacelle.kvm.sys.FileDescriptor;
import dev.nacelle.spi.RateLimit;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/**
 * A disk (virtio 1.2 section 5.2) backed by a raw image. Data goes straight between the file and
 * the guest's buffers. Requests are done one after the other on the event loop, which waits for the
 * disk: give the device a loop of its own.
 *
 * <p>What goes wrong with the file while the guest runs, a truncated one included, is an I/O error
 * to the guest, as is a request beyond the end of the disk or a write to a read-only one; only a
 * request without room for its header or its status ends the machine.
 */
public final class BlockDevice extends VirtioDevice {
  /**
   * The unit of the protocol in bytes, whatever the disk's block size (virtio 1.2 section 5.2.4).
   */
  public static final int SECTOR_BYTES = 512;

  /** Length of the identifier that VIRTIO_BLK_T_GET_ID returns (section 5.2.6). */
  public static final int SERIAL_BYTES = 20;

  /** Virtio 1.2 section 5.2.1. */
  private static final int DEVICE_ID = 2;

  private static final int QUEUE_SIZE = 256;

  /**
   * Bytes of a transfer after which it is looked whether the device shall stop: a request can have
   * 2 GiB.
   */
  private static final int SLICE_BYTES = 1 << 20;

  // Feature bits, section 5.2.3
  private static final long F_SEG_MAX = 1 << 2;
  private static final long F_READ_ONLY = 1 << 5;
  private static final long F_FLUSH = 1 << 9;

  /** Header and status take a descriptor each, and no chain may be longer than the queue. */
  private static final int SEGMENTS_MAX = QUEUE_SIZE - 2;

  // struct virtio_blk_config, section 5.2.4
  private static final int CONFIG_BYTES = 60;
  private static final int CONFIG_CAPACITY = 0;
  private static final int CONFIG_SEG_MAX = 12;

  // struct virtio_blk_req, section 5.2.6
  private static final int HEADER_BYTES = 16;
  private static final int HEADER_SECTOR = 8;
  private static final int IN = 0;
  private static final int OUT = 1;
  private static final int FLUSH = 4;
  private static final int GET_ID = 8;

  private static final byte OK = 0;
  private static final byte IO_ERROR = 1;
  private static final byte UNSUPPORTED = 2;

  private final FileDescriptor image;
  private final long sectors;
  private final boolean readOnly;
  private final byte[] serial = new byte[SERIAL_BYTES];
  private final DescriptorChain chain = new DescriptorChain(memory, QUEUE_SIZE);
  private final byte[] headerBytes = new byte[HEADER_BYTES];
  private final ByteBuffer header = ByteBuffer.wrap(headerBytes).order(ByteOrder.LITTLE_ENDIAN);
  private final byte[] status = new byte[1];
  private final RateLimiter limiter;

  /** The driver knows no flush: a write is stable when it is completed (section 5.2.6.2). */
  private boolean writeThrough;

  /** How many bytes the request has written to the guest, from the start of its buffer. */
  private int written;

  /**
   * @param image the disk, open for writing unless it is read-only; the device closes it
   * @param serial what the guest finds the disk by, at most {@link #SERIAL_BYTES} ASCII characters
   */
  public BlockDevice(
      DeviceResources resources, FileDescriptor image, boolean readOnly, String serial) {
    this(resources, image, readOnly, serial, null);
  }

  /**
   * @param limit of bytes of data and of requests; null for none
   */
  public BlockDevice(
      DeviceResources resources,
      FileDescriptor image,
      boolean readOnly,
      String serial,
      @Nullable RateLimit limit) {
    this(resources, image, readOnly, serial, limit, image.size() / SECTOR_BYTES);
  }

  private BlockDevice(
      DeviceResources resources,
      FileDescriptor image,
      boolean readOnly,
      String serial,
      @Nullable RateLimit limit,
      long sectors) {
    super(
        resources,
        "virtio-blk " + serial,
        DEVICE_ID,
        F_SEG_MAX | F_FLUSH | (readOnly ? F_READ_ONLY : 0),
        configuration(sectors),
        QUEUE_SIZE);
    this.image = image;
    limiter = new RateLimiter(limit, resources, () -> notified(0));
    this.sectors = sectors;
    this.readOnly = readOnly;
    byte[] ascii = serial.getBytes(StandardCharsets.US_ASCII);
    if (ascii.length > SERIAL_BYTES) {
      throw new IllegalArgumentException("longer than 20 characters: " + serial);
    }
    System.arraycopy(ascii, 0, this.serial, 0, ascii.length);
  }

  private static byte[] configuration(long sectors) {
    return ByteBuffer.allocate(CONFIG_BYTES)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(CONFIG_CAPACITY, sectors)
        .putInt(CONFIG_SEG_MAX, SEGMENTS_MAX)
        .array();
  }

  @Override
  protected void onActivate(long negotiated) {
    writeThrough = (negotiated & F_FLUSH) == 0;
  }

  @Override
  protected void process(int index) {
    // The lock is given up after each request. A reset or the end of the machine waits for one
    // slice or one flush at most; the request that is not finished then fails.
    while (processOne(index)) {}
  }

  /** Does one request; false when there was none. */
  private boolean processOne(int index) {
    synchronized (lock) {
      VirtQueue queue = queue(index);
      if (queue == null || limiter.isWaiting()) {
        return false;
      }
      if (!queue.pop(chain)) {
        return queue.requestNotifications();
      }
      if (!limiter.admit(dataBytes())) {
        queue.putBack();
        return false;
      }
      queue.suppressNotifications();
      perform(queue);
      queue.push(chain, written);
      interruptIfNeeded(queue);
      return true;
    }
  }

  /** Without header and status. */
  private long dataBytes() {
    return Math.max(0, chain.readableBytes() - HEADER_BYTES)
        + Math.max(0, chain.writableBytes() - 1);
  }

  private void perform(VirtQueue queue) {
    if (chain.readableBytes() < HEADER_BYTES) {
      throw queue.fault(
          "a request of " + chain.readableBytes() + " bytes, shorter than its header");
    }
    if (chain.writableBytes() == 0) {
      throw queue.fault("a request without room for its status");
    }
    chain.read(0, headerBytes, 0, HEADER_BYTES);
    written = 0;
    status[0] = execute(queue, header.getInt(0), header.getLong(HEADER_SECTOR));
    long room = chain.writableBytes() - 1;
    chain.write(room, status, 0, 1);
    if (written == room) {
      written++;
    }
  }

  private byte execute(VirtQueue queue, int type, long sector) {
    try {
      return switch (type) {
        case IN -> read(queue, sector);
        case OUT -> write(queue, sector);
        case FLUSH -> flush();
        case GET_ID -> getId();
        default -> UNSUPPORTED;
      };
    } catch (ErrnoException e) {
      return IO_ERROR;
    }
  }

  /** Whether a range is on the disk and made of whole sectors. */
  private boolean valid(long sector, long bytes) {
    return bytes % SECTOR_BYTES == 0
        && sector >= 0
        && sector <= sectors
        && bytes / SECTOR_BYTES <= sectors - sector;
  }

  private byte read(VirtQueue queue, long sector) {
    long length = chain.writableBytes() - 1;
    if (!valid(sector, length)) {
      return IO_ERROR;
    }
    long position = sector * SECTOR_BYTES;
    for (int i = chain.readableSegments(); written < length; i++) {
      // The last byte is the status', wherever the driver put it.
      long end = Math.min(chain.length(i), length - written);
      for (long done = 0; done < end; ) {
        long wanted = Math.min(end - done, SLICE_BYTES);
        if (queue.isStopped()) {
          return IO_ERROR;
        }
        long n = memory.readFrom(image, position + written, chain.address(i) + done, wanted);
        written += (int) n;
        if (n < wanted) {
          return IO_ERROR;
        }
        done += n;
      }
    }
    return OK;
  }

  private byte write(VirtQueue queue, long sector) {
    long length = chain.readableBytes() - HEADER_BYTES;
    if (readOnly || !valid(sector, length)) {
      return IO_ERROR;
    }
    long position = sector * SECTOR_BYTES;
    long skip = HEADER_BYTES;
    for (int i = 0; i < chain.readableSegments(); i++) {
      while (skip < chain.length(i)) {
        long n = Math.min(chain.length(i) - skip, SLICE_BYTES);
        if (queue.isStopped()) {
          return IO_ERROR;
        }
        memory.writeTo(image, position, chain.address(i) + skip, n);
        position += n;
        skip += n;
      }
      skip -= chain.length(i);
    }
    if (writeThrough) {
      image.sync();
    }
    return OK;
  }

  private byte flush() {
    if (!readOnly) {
      image.sync();
    }
    return OK;
  }

  private byte getId() {
    written = (int) Math.min(SERIAL_BYTES, chain.writableBytes() - 1);
    chain.write(0, serial, 0, written);
    return OK;
  }

  @Override
  public void close() {
    super.close();
    image.close();
  }
}
