// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import dev.nacelle.kvm.sys.IoVector;
import dev.nacelle.kvm.sys.Mapping;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * The requests of a disk, as many as its engine can have under way at a time, and that engine.
 * Everything is made with the device: nothing is for a request. Not safe for use from several
 * threads.
 */
final class Requests {
  private static final int VECTOR_BYTES = BlockDevice.QUEUE_SIZE * IoVector.SEGMENT_BYTES;

  /** Zeros for when the host has no call to make some; never touched, so they take no memory. */
  private static final int ZEROS_BYTES = 1 << 16;

  private final DiskEngine engine;

  /** The vectors of all requests, and the zeros. */
  private final Mapping vectors;

  private final Request[] requests;

  /** Requests that are not in use; a stack. */
  private final Request[] free;

  private int freeCount;
  private int underWay;

  /**
   * @param engine closed by {@link #close}
   */
  Requests(DiskEngine engine) {
    this.engine = engine;
    int count = engine.capacity();
    requests = new Request[count];
    free = new Request[count];
    long zeros = (long) count * VECTOR_BYTES;
    vectors = Mapping.anonymous(zeros + ZEROS_BYTES);
    try {
      for (int i = 0; i < count; i++) {
        IoVector vector = new IoVector(vectors, (long) i * VECTOR_BYTES, BlockDevice.QUEUE_SIZE);
        requests[i] = new Request(i, vector, vectors, zeros, ZEROS_BYTES);
        release(requests[i]);
      }
    } catch (RuntimeException | Error e) {
      vectors.close();
      throw e;
    }
  }

  /** Whether one is not in use. */
  boolean hasFree() {
    return freeCount > 0;
  }

  /** Takes one that is not in use. */
  Request take() {
    return free[--freeCount];
  }

  /** Puts back one that has no step under way. */
  void release(Request request) {
    request.orphaned(false);
    free[freeCount++] = request;
  }

  /**
   * Has a request's step done.
   *
   * @return whether it is done already; if not, {@link #next} gives the request once it is
   */
  boolean start(Request request) {
    if (engine.start(request, underWay == 0)) {
      return true;
    }
    request.underWay(true);
    underWay++;
    return false;
  }

  /** Hands over what was started. */
  void submit() {
    engine.submit();
  }

  /** A request whose step has ended, or null. */
  @Nullable Request next() {
    Request request = engine.next();
    if (request != null) {
      request.underWay(false);
      underWay--;
    }
    return request;
  }

  /** Waits until {@link #next} may have something, or the time is over. */
  void await(int millis) {
    engine.await(millis);
  }

  /**
   * Has the steps under way come to an end, which nobody waits for any more.
   *
   * @param all or only those that use guest memory
   * @param start when waiting for that began, of {@link System#nanoTime}
   * @param patienceMillis how long it goes on from there
   * @return whether they have
   */
  boolean quiesce(boolean all, long start, int patienceMillis) {
    if (underWay == 0) {
      return true;
    }
    engine.submit();
    for (Request request : requests) {
      if (request.isUnderWay() && !request.isOrphaned()) {
        request.orphaned(true);
        engine.cancel(request);
      }
    }
    while (true) {
      for (Request ended = next(); ended != null; ended = next()) {
        release(ended);
      }
      if (underWay == 0 || (!all && !memoryInUse())) {
        return true;
      }
      long left = patienceMillis - TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
      if (left <= 0) {
        return false;
      }
      engine.await((int) left);
    }
  }

  /** Whether the kernel may read or write guest memory for a step. */
  boolean memoryInUse() {
    for (Request request : requests) {
      if (request.isUnderWay() && request.step().usesMemory()) {
        return true;
      }
    }
    return false;
  }

  /** Closes the engine; no step may be under way. */
  void close() {
    engine.close();
    vectors.close();
  }
}
