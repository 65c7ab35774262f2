// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.kvm.device.DeviceResources;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The memory balloon (virtio 1.2 section 5.5): the guest gives the host memory that it does not
 * use. By itself, what it has freed (VIRTIO_BALLOON_F_REPORTING): the host takes the pages, and the
 * guest may use them at any time. And what it is asked for: the balloon is inflated by so many
 * pages, which the guest does not use until it is let have them again, or would run out of memory
 * (VIRTIO_BALLOON_F_DEFLATE_ON_OOM).
 *
 * <p>Pages that are given back are gone for the host at once: they read as zeros, and take memory
 * when they are touched. So nothing is to be done when the balloon deflates, and nothing is kept of
 * what is in it: a guest that uses pages which it gave back, or gives back what it uses, deceives
 * itself.
 *
 * <p>For the work on one buffer to be bounded, of each at most {@link #MAXIMUM_PAGES} pages by
 * number are taken, and of reported memory at most {@link #MAXIMUM_BYTES}; what is more is {@link
 * Ignored#PAGES}, as is what is not the guest's memory.
 */
public final class BalloonDevice extends VirtioDevice {
  /** Most pages of one buffer of page numbers; Linux' driver gives 256, others 1024. */
  static final int MAXIMUM_PAGES = 1024;

  /** Most reported bytes of one buffer; Linux' driver gives 128 MiB. */
  static final long MAXIMUM_BYTES = 256L << 20;

  /** Unit of page numbers and of the balloon's size, whatever the guest's page size. */
  static final int PAGE_SHIFT = 12;

  /** Likewise, in bytes. */
  public static final long PAGE = 1L << PAGE_SHIFT;

  // Virtio 1.2 sections 5.5.1 to 5.5.4
  private static final int DEVICE_ID = 5;
  private static final int INFLATE = 0;
  private static final int DEFLATE = 1;
  private static final long F_DEFLATE_ON_OOM = 1L << 2;
  private static final long F_REPORTING = 1L << 5;
  private static final int CONFIGURATION_BYTES = 16;
  private static final int NUM_PAGES = 0;
  private static final int ACTUAL = 4;

  private static final int QUEUE_SIZE = 128;

  /** After so many buffers and calls of the host's kernel, other devices get their turn. */
  private static final int BATCH = 256;

  private final DescriptorChain chain = new DescriptorChain(memory, QUEUE_SIZE);
  private final byte[] numbers = new byte[MAXIMUM_PAGES * Integer.BYTES];
  private final ByteBuffer number = ByteBuffer.wrap(numbers).order(ByteOrder.LITTLE_ENDIAN);

  private int calls;

  /**
   * The reporting queue is number 4. Linux before 6.11 numbers only those queues that it uses, by
   * which that is 2, or 3; there are no others for what 2 and 3 are said to be.
   */
  public BalloonDevice(DeviceResources resources) {
    super(
        resources,
        "virtio-balloon",
        DEVICE_ID,
        F_DEFLATE_ON_OOM | F_REPORTING,
        new byte[CONFIGURATION_BYTES],
        QUEUE_SIZE,
        QUEUE_SIZE,
        QUEUE_SIZE,
        QUEUE_SIZE,
        QUEUE_SIZE);
  }

  /**
   * Asks the guest to give so much, in place of what it was asked for before. It does so as it can:
   * see {@link #given}. From any thread.
   *
   * @param bytes a multiple of 4096
   */
  public void inflateTo(long bytes) {
    changeConfiguration(NUM_PAGES, (int) (bytes >>> PAGE_SHIFT));
  }

  /** How many bytes the guest says that it has given; not more than its memory. */
  public long given() {
    return Math.min(readConfiguration(ACTUAL, Integer.BYTES) << PAGE_SHIFT, memory.size());
  }

  @Override
  protected boolean writeConfiguration(long offset, int size, long value) {
    if (offset != ACTUAL || size != Integer.BYTES) {
      return false;
    }
    putConfiguration(ACTUAL, (int) value);
    return true;
  }

  @Override
  protected void onReset() {
    putConfiguration(ACTUAL, 0);
  }

  @Override
  protected void process(int index) {
    synchronized (lock) {
      VirtQueue queue = queue(index);
      if (queue == null) {
        return;
      }
      calls = 0;
      do {
        queue.suppressNotifications();
        while (calls < BATCH && queue.pop(chain)) {
          calls++;
          switch (index) {
            case INFLATE -> takePages();
            case DEFLATE -> {
              // The pages are there as soon as they are touched.
            }
            default -> takeReport();
          }
          queue.push(chain, 0);
        }
      } while (calls < BATCH && queue.requestNotifications());
      interruptIfNeeded(queue);
      if (calls >= BATCH) {
        processLater(index);
      }
    }
  }

  /** Page numbers, little endian, of 4 bytes each. */
  private void takePages() {
    if (chain.writableBytes() > 0) {
      ignored(Ignored.DIRECTION);
    }
    int length = (int) Math.min(chain.readableBytes(), numbers.length) & -Integer.BYTES;
    if (length < chain.readableBytes()) {
      ignored(Ignored.PAGES);
    }
    chain.read(0, numbers, 0, length);
    // Neighbours together, in whichever order they come.
    long first = 0;
    long end = 0;
    for (int i = 0; i < length; i += Integer.BYTES) {
      long page = Integer.toUnsignedLong(number.getInt(i));
      if (!memory.contains(page << PAGE_SHIFT, PAGE)) {
        ignored(Ignored.PAGES);
      } else if (page == end
          && memory.contains(first << PAGE_SHIFT, page + 1 - first << PAGE_SHIFT)) {
        end++;
      } else if (page + 1 == first
          && memory.contains(page << PAGE_SHIFT, end - page << PAGE_SHIFT)) {
        first = page;
      } else {
        discard(first << PAGE_SHIFT, end << PAGE_SHIFT);
        first = page;
        end = page + 1;
      }
    }
    discard(first << PAGE_SHIFT, end << PAGE_SHIFT);
  }

  /** The memory is the buffer's own, which the device may write to. */
  private void takeReport() {
    if (chain.readableBytes() > 0) {
      ignored(Ignored.DIRECTION);
    }
    long left = MAXIMUM_BYTES;
    for (int i = chain.readableSegments(); i < chain.segments(); i++) {
      long start = chain.address(i);
      long length = Math.min(chain.length(i), left);
      if (length < chain.length(i)) {
        ignored(Ignored.PAGES);
      }
      left -= length;
      // Whole pages only.
      discard(start + PAGE - 1 & -PAGE, start + length & -PAGE);
    }
  }

  private void discard(long start, long end) {
    if (start < end) {
      calls++;
      memory.discard(start, end - start);
    }
  }
}
