// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.virtio.DescriptorChain;
import dev.nacelle.kvm.device.virtio.RateLimiter;
import dev.nacelle.kvm.device.virtio.VirtQueue;
import dev.nacelle.kvm.device.virtio.VirtioDevice;
import dev.nacelle.kvm.sys.IoVector;
import dev.nacelle.kvm.sys.Mapping;
import dev.nacelle.kvm.sys.Pollable;
import dev.nacelle.spi.RateLimit;
import java.lang.System.Logger.Level;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * A disk (virtio 1.2 section 5.2) backed by a raw image. Data goes straight between the file and
 * the guest's buffers. As many requests are under way as the {@link DiskEngine} takes; they end in
 * any order, as the specification lets them. A flush covers the writes that were completed before
 * it, which is what section 5.2.6.2 asks for. The event loop waits for the disk where the engine
 * does, and copies what the host has in memory: give the device a loop of its own.
 *
 * <p>What goes wrong with the file while the guest runs, a truncated one included, is an I/O error
 * to the guest, as is a request beyond the end of the disk or a write to a read-only one; only a
 * request without room for its header or its status ends the machine.
 *
 * <p><b>Guest memory and the kernel.</b> A step under way may read or write guest memory at any
 * time. So a queue is gone for the driver, and the device closed, only when no such step is left:
 * each is cancelled and waited for. If the host's disk does not answer within 5 seconds, a reset
 * ends the machine, and close leaves the guest's memory mapped, the image open and locked, and says
 * so in the log. A sync or a discard touches no guest memory: it may outlast its queue, and its
 * {@link Request} is not used again before it has ended.
 */
public final class BlockDevice extends VirtioDevice {
  /**
   * The unit of the protocol in bytes, whatever the disk's block size (virtio 1.2 section 5.2.4).
   */
  public static final int SECTOR_BYTES = 512;

  /** Length of the identifier that VIRTIO_BLK_T_GET_ID returns (section 5.2.6). */
  public static final int SERIAL_BYTES = 20;

  private static final System.Logger LOGGER = System.getLogger(BlockDevice.class.getName());

  /** Virtio 1.2 section 5.2.1. */
  private static final int DEVICE_ID = 2;

  private static final int QUEUE = 0;
  private static final int QUEUE_SIZE = 256;

  /** Header and status take a descriptor each, and no chain may be longer than the queue. */
  private static final int SEGMENTS_MAX = QUEUE_SIZE - 2;

  /** So many requests are taken at once; then others may have the lock, and the event loop. */
  private static final int BATCH = 64;

  /** An answer waits for those behind it for no longer than this before the driver is told. */
  private static final long BATCH_NANOS = TimeUnit.MICROSECONDS.toNanos(100);

  private static final int PATIENCE_MILLIS = 5_000;

  private static final int VECTOR_BYTES = QUEUE_SIZE * IoVector.SEGMENT_BYTES;

  /** Zeros for when the host has no call to make some; never touched, so they take no memory. */
  private static final int ZEROS_BYTES = 1 << 16;

  private final DiskEngine engine;
  private final int patienceMillis;
  private final RateLimiter limiter;
  private final RequestReader reader;
  private final DescriptorChain chain = new DescriptorChain(memory, QUEUE_SIZE);

  /** The vectors of all requests, and the zeros. */
  private final Mapping vectors;

  private final Request[] requests;

  /** Requests that are not in use; a stack. */
  private final Request[] free;

  private int freeCount;
  private int underWay;
  private long lastSignal;

  private volatile boolean closing;
  private boolean closed;

  /**
   * @param engine has the image; the device closes it
   * @param serial what the guest finds the disk by, at most {@link #SERIAL_BYTES} ASCII characters
   */
  public BlockDevice(
      DeviceResources resources, DiskEngine engine, boolean readOnly, String serial) {
    this(resources, engine, readOnly, serial, null);
  }

  /**
   * @param limit of bytes of data and of requests; null for none
   */
  public BlockDevice(
      DeviceResources resources,
      DiskEngine engine,
      boolean readOnly,
      String serial,
      @Nullable RateLimit limit) {
    this(resources, engine, Disk.of(engine.image(), readOnly, serial), limit, PATIENCE_MILLIS);
  }

  /**
   * @param patienceMillis how long a reset or the end waits for the host's disk
   */
  BlockDevice(
      DeviceResources resources,
      DiskEngine engine,
      Disk disk,
      @Nullable RateLimit limit,
      int patienceMillis) {
    super(
        resources,
        "virtio-blk " + disk.serial(),
        DEVICE_ID,
        disk.features(),
        disk.configuration(SEGMENTS_MAX),
        QUEUE_SIZE);
    this.engine = engine;
    this.patienceMillis = patienceMillis;
    limiter = new RateLimiter(limit, resources, () -> notified(QUEUE));
    reader = new RequestReader(memory, disk);
    int count = engine.capacity();
    requests = new Request[count];
    free = new Request[count];
    long zeros = (long) count * VECTOR_BYTES;
    vectors = Mapping.anonymous(zeros + ZEROS_BYTES);
    try {
      for (int i = 0; i < count; i++) {
        IoVector vector = new IoVector(vectors, (long) i * VECTOR_BYTES, QUEUE_SIZE);
        requests[i] = new Request(i, vector, vectors, zeros, ZEROS_BYTES);
        release(requests[i]);
      }
      Pollable completions = engine.completions();
      if (completions != null) {
        watch(completions, () -> notified(QUEUE));
      }
    } catch (RuntimeException | Error e) {
      vectors.close();
      throw e;
    }
  }

  @Override
  protected void onActivate(long negotiated) {
    reader.negotiated(negotiated);
  }

  /** After the driver's bell, after the end of a step, and as long as there is more to do. */
  @Override
  protected void process(int index) {
    synchronized (lock) {
      if (closed) {
        return;
      }
      lastSignal = System.nanoTime();
      VirtQueue queue = queue(QUEUE);
      collect(queue);
      if (queue == null) {
        return;
      }
      int budget = BATCH;
      queue.suppressNotifications();
      while (budget > 0 && freeCount > 0 && popWithinLimit(queue)) {
        budget--;
        begin(queue);
      }
      engine.submit();
      // What the host had in memory has ended by now; longer requests have their next step.
      collect(queue);
      engine.submit();
      interruptIfNeeded(queue);
      // With no request free, the end of the next step comes back here, and the limiter's timer
      // where that holds the queue back.
      if (freeCount > 0 && !limiter.isWaiting() && (budget == 0 || queue.requestNotifications())) {
        processLater(QUEUE);
      }
    }
  }

  /** Takes a request into the chain, or leaves it where it is, because it must wait. */
  private boolean popWithinLimit(VirtQueue queue) {
    if (limiter.isWaiting() || !queue.pop(chain)) {
      return false;
    }
    if (limiter.admit(RequestReader.dataBytes(chain))) {
      return true;
    }
    queue.putBack();
    return false;
  }

  /**
   * Begins the request in the chain. Between the taking of a buffer and its return nothing may fail
   * that does not end the machine: the driver would wait for it for ever.
   */
  private void begin(VirtQueue queue) {
    Request request = free[--freeCount];
    reader.read(queue, chain, request);
    run(queue, request);
  }

  /** Does a request's steps until one is under way, or all are done. */
  private void run(VirtQueue queue, Request request) {
    while (request.proceed()) {
      if (queue.isStopped()) {
        release(request);
        return;
      }
      if (!engine.start(request)) {
        request.underWay(true);
        underWay++;
        return;
      }
    }
    complete(queue, request);
  }

  private void complete(VirtQueue queue, Request request) {
    memory.putByte(request.statusAddress(), request.status().number);
    queue.push(request.head(), request.written());
    release(request);
    long now = System.nanoTime();
    if (now - lastSignal > BATCH_NANOS) {
      lastSignal = now;
      interruptIfNeeded(queue);
    }
  }

  private void release(Request request) {
    request.orphaned(false);
    free[freeCount++] = request;
  }

  /** Takes the steps that have ended, and goes on with their requests. */
  private void collect(@Nullable VirtQueue queue) {
    for (Request request = engine.next(); request != null; request = engine.next()) {
      request.underWay(false);
      underWay--;
      if (queue == null || request.isOrphaned()) {
        release(request);
      } else {
        run(queue, request);
      }
    }
  }

  @Override
  protected void onQueueStopped(int index) {
    giveMemoryBack();
  }

  @Override
  protected void onReset() {
    giveMemoryBack();
  }

  private void giveMemoryBack() {
    // The end of the device waits for more than this, and cannot fail.
    if (!closing && !quiesce(false)) {
      throw new IllegalStateException(
          name() + ": the host's disk has not answered for " + patienceMillis + " ms");
    }
  }

  /**
   * Has the steps under way come to an end.
   *
   * @param all or only those that use guest memory
   * @return whether they have
   */
  private boolean quiesce(boolean all) {
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
    long start = System.nanoTime();
    while (true) {
      collect(null);
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

  private boolean memoryInUse() {
    for (Request request : requests) {
      if (request.isUnderWay() && request.step().usesMemory()) {
        return true;
      }
    }
    return false;
  }

  @Override
  public void close() {
    closing = true;
    super.close();
    synchronized (lock) {
      if (closed) {
        return;
      }
      closed = true;
      if (quiesce(true)) {
        engine.close();
        vectors.close();
        return;
      }
      if (memoryInUse()) {
        memory.leak();
      }
    }
    LOGGER.log(
        Level.WARNING,
        name()
            + ": the host's disk has not answered for "
            + patienceMillis
            + " ms; "
            + engine.image()
            + " stays open, and what the kernel may still use stays mapped");
  }
}
