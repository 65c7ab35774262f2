// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import dev.nacelle.kvm.device.virtio.DescriptorChain;
import dev.nacelle.kvm.device.virtio.VirtQueue;
import dev.nacelle.kvm.memory.GuestMemory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * Reads what a driver asks for (virtio 1.2 section 5.2.6), once, checks it, and says it as steps.
 * Allocates nothing. Not safe for use from several threads.
 */
final class RequestReader {
  // struct virtio_blk_req
  private static final int HEADER_BYTES = 16;
  private static final int HEADER_SECTOR = 8;
  private static final int IN = 0;
  private static final int OUT = 1;
  private static final int FLUSH = 4;
  private static final int GET_ID = 8;
  private static final int DISCARD = 11;
  private static final int WRITE_ZEROES = 13;

  // struct virtio_blk_discard_write_zeroes
  private static final int RANGE_BYTES = 16;
  private static final int RANGE_SECTORS = 8;
  private static final int RANGE_FLAGS = 12;
  private static final int FLAG_UNMAP = 1;

  private final GuestMemory memory;
  private final Disk disk;
  private final byte[] serial = new byte[BlockDevice.SERIAL_BYTES];
  private final byte[] bytes = new byte[Disk.MAX_RANGES * RANGE_BYTES];
  private final ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);

  private long features;

  RequestReader(GuestMemory memory, Disk disk) {
    this.memory = memory;
    this.disk = disk;
    byte[] ascii = disk.serial().getBytes(StandardCharsets.US_ASCII);
    System.arraycopy(ascii, 0, serial, 0, ascii.length);
  }

  /** How much data a request has, without header and status. */
  static long dataBytes(DescriptorChain chain) {
    return Math.max(0, chain.readableBytes() - HEADER_BYTES)
        + Math.max(0, chain.writableBytes() - 1);
  }

  /** The driver has negotiated these. */
  void negotiated(long those) {
    features = those;
  }

  /**
   * Sets a request up.
   *
   * @throws dev.nacelle.kvm.device.GuestFault when it has no room for its header or its status
   */
  void read(VirtQueue queue, DescriptorChain chain, Request request) {
    if (chain.readableBytes() < HEADER_BYTES) {
      throw queue.fault(
          "a request of " + chain.readableBytes() + " bytes, shorter than its header");
    }
    if (chain.writableBytes() == 0) {
      throw queue.fault("a request without room for its status");
    }
    // The last byte is the status', wherever the driver put it.
    int last = chain.segments() - 1;
    long room = chain.writableBytes() - 1;
    request.begin(chain.head(), chain.address(last) + chain.length(last) - 1, room);
    chain.read(0, bytes, 0, HEADER_BYTES);
    int type = buffer.getInt(0);
    long sector = buffer.getLong(HEADER_SECTOR);
    switch (type) {
      case IN -> transfer(chain, request, Step.READ, sector, room);
      case OUT -> transfer(chain, request, Step.WRITE, sector, chain.readableBytes());
      case FLUSH -> {
        if (!disk.readOnly()) {
          request.syncAtEnd();
        }
      }
      case GET_ID -> {
        int length = (int) Math.min(BlockDevice.SERIAL_BYTES, room);
        chain.write(0, serial, 0, length);
        request.answered(length);
      }
      case DISCARD -> ranges(chain, request, Disk.F_DISCARD);
      case WRITE_ZEROES -> ranges(chain, request, Disk.F_WRITE_ZEROES);
      default -> request.fail(Status.UNSUPPORTED);
    }
  }

  /**
   * @param bytes of the readable or writable part, without the status and with the header
   */
  private void transfer(
      DescriptorChain chain, Request request, Step direction, long sector, long bytes) {
    boolean write = direction == Step.WRITE;
    long skip = write ? HEADER_BYTES : 0;
    long left = bytes - skip;
    if (write && disk.readOnly() || !disk.contains(sector, left)) {
      request.fail(Status.IO_ERROR);
      return;
    }
    for (int i = write ? 0 : chain.readableSegments(); left > 0; i++) {
      long length = Math.min(chain.length(i) - skip, left);
      if (length > 0) {
        memory.addTo(request.vector(), chain.address(i) + skip, length);
        left -= length;
        skip = 0;
      } else {
        skip -= chain.length(i);
      }
    }
    request.transfer(direction, sector * BlockDevice.SECTOR_BYTES);
    if (write) {
      changed(request);
    }
  }

  /** A driver that knows no flush takes what is completed for stable (section 5.2.6.2). */
  private void changed(Request request) {
    if ((features & Disk.F_FLUSH) == 0) {
      request.syncAtEnd();
    }
  }

  private void ranges(DescriptorChain chain, Request request, long feature) {
    if ((features & feature) == 0) {
      request.fail(disk.readOnly() ? Status.IO_ERROR : Status.UNSUPPORTED);
      return;
    }
    long length = chain.readableBytes() - HEADER_BYTES;
    if (length == 0 || length % RANGE_BYTES != 0 || length > bytes.length) {
      request.fail(Status.IO_ERROR);
      return;
    }
    chain.read(HEADER_BYTES, bytes, 0, (int) length);
    boolean discard = feature == Disk.F_DISCARD;
    request.ranges(discard);
    for (int at = 0; at < length; at += RANGE_BYTES) {
      long sector = buffer.getLong(at);
      long count = Integer.toUnsignedLong(buffer.getInt(at + RANGE_SECTORS));
      int flags = buffer.getInt(at + RANGE_FLAGS);
      if ((flags & ~FLAG_UNMAP) != 0 || (discard && flags != 0)) {
        request.fail(Status.UNSUPPORTED);
        return;
      }
      long size = count * BlockDevice.SECTOR_BYTES;
      if (count > Disk.MAX_RANGE_SECTORS || !disk.contains(sector, size)) {
        request.fail(Status.IO_ERROR);
        return;
      }
      if (size > 0) {
        Step step = discard || flags != 0 ? Step.PUNCH : Step.ZERO;
        request.addRange(step, sector * BlockDevice.SECTOR_BYTES, size);
      }
    }
    changed(request);
  }
}
