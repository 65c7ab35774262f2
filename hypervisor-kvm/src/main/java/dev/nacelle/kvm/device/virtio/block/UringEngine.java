// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.FileDescriptor;
import dev.nacelle.kvm.sys.IoUring;
import dev.nacelle.kvm.sys.Pollable;
import org.jspecify.annotations.Nullable;

/**
 * Has the steps of many requests done by the kernel at a time. What the kernel cannot take, for
 * want of memory or of a thread to do it on, is done at once, as {@link SynchronousEngine} does it.
 *
 * <p>A read while nothing is under way is tried at once first, by a system call that does not wait
 * for the disk: for what the host has in memory, the ring takes twice as long as that.
 *
 * <p>Every write is done at once, too: it goes to the host's memory, which seldom waits, while
 * io_uring would hand it to a thread of the kernel on a file system that has no writes without
 * waiting, as ext4 has not (FOP_BUFFER_WASYNC). That took 43 us for 4 KiB where pwritev took 7.
 * What waits for the disk are reads, syncs and discards; but where the host holds writers back, its
 * disk hanging with too much unwritten, the device waits for it, its end included.
 */
public final class UringEngine implements DiskEngine {
  /**
   * The most requests under way: as many as a driver has by itself for the queue depth of a common
   * NVMe test, 32, and again that many to come.
   */
  static final int CAPACITY = 64;

  private final FileDescriptor image;
  private final IoUring ring;

  /** By their index, which is the operations' key. */
  private final @Nullable Request[] requests;

  /** Those prepared and not submitted, in their order. */
  private final @Nullable Request[] prepared;

  private int preparedCount;

  /** Those that the kernel did not take, and that have been done. */
  private final @Nullable Request[] done;

  private int doneCount;

  /** Whether the file system can read without waiting, as far as is known. */
  private boolean readsAtOnce = true;

  /**
   * @param image see {@link DiskEngine#of}
   * @param ring closed by this, too
   */
  public UringEngine(FileDescriptor image, IoUring ring) {
    this.image = image;
    this.ring = ring;
    requests = new Request[ring.capacity()];
    prepared = new Request[ring.capacity()];
    done = new Request[ring.capacity()];
  }

  @Override
  public FileDescriptor image() {
    return image;
  }

  @Override
  public int capacity() {
    return ring.capacity();
  }

  @Override
  public boolean start(Request request, boolean alone) {
    int key = request.index();
    long position = request.position();
    switch (request.step()) {
      case READ -> {
        if (alone && readsAtOnce && readAtOnce(request)) {
          return true;
        }
        ring.read(image, position, request.vector(), key);
      }
      case WRITE -> {
        SynchronousEngine.perform(image, request);
        return true;
      }
      case SYNC -> ring.sync(image, key);
      case PUNCH -> ring.punchHole(image, position, request.length(), key);
      case ZERO -> ring.zeroRange(image, position, request.length(), key);
    }
    requests[key] = request;
    prepared[preparedCount++] = request;
    return false;
  }

  private boolean readAtOnce(Request request) {
    int result = image.readAtOnce(request.position(), request.vector());
    if (result >= 0) {
      request.ended(result);
      return true;
    }
    // Any other error comes again where it is one.
    readsAtOnce = result == -Errno.EAGAIN;
    return false;
  }

  @Override
  public void submit() {
    if (preparedCount == 0) {
      return;
    }
    if (ring.submit() < 0) {
      for (int left = ring.withdraw(); left > 0; left--) {
        Request request = prepared[preparedCount - left];
        if (request != null) {
          SynchronousEngine.perform(image, request);
          done[doneCount++] = request;
        }
      }
    }
    preparedCount = 0;
  }

  @Override
  public @Nullable Request next() {
    if (doneCount > 0) {
      return done[--doneCount];
    }
    int key = ring.next();
    if (key < 0) {
      return null;
    }
    Request request = requests[key];
    if (request != null) {
      int result = ring.result();
      if (result == -Errno.ECANCELED && !request.isOrphaned()) {
        // By nobody but the kernel: it found no thread, as at this process' limit of them.
        SynchronousEngine.perform(image, request);
      } else {
        request.ended(result);
      }
    }
    return request;
  }

  @Override
  public Pollable completions() {
    return ring;
  }

  @Override
  public void cancel(Request request) {
    ring.cancel(request.index());
    if (ring.submit() < 0) {
      // Then it is waited for.
      int ignored = ring.withdraw();
    }
  }

  @Override
  public void await(int millis) {
    ring.await(millis);
  }

  @Override
  public void close() {
    ring.close();
    image.close();
  }
}
