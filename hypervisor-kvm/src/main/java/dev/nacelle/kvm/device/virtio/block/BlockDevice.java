// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import dev.nacelle.DataSize;
import dev.nacelle.DiskUse;
import dev.nacelle.RateLimit;
import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.virtio.DescriptorChain;
import dev.nacelle.kvm.device.virtio.RateLimiter;
import dev.nacelle.kvm.device.virtio.VirtQueue;
import dev.nacelle.kvm.device.virtio.VirtioDevice;
import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.Pollable;
import java.lang.System.Logger.Level;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.ReentrantLock;
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
 * request without room for its header or its status ends the machine. The first failure of the file
 * is logged as a warning, since its error is not the guest's.
 *
 * <p>Whoever works on requests has the turn, not the lock of all devices: a system call may wait
 * for as long as the host's disk hangs, and a vCPU that resets the device, or takes its queue away,
 * must not. It waits for the turn for 5 seconds, and then ends the machine. The thread that hangs
 * keeps the guest's memory until it ends.
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

  /** Virtio 1.2 section 5.2.1. */
  private static final int DEVICE_ID = 2;

  private static final int QUEUE = 0;

  /** The longest chain, too. */
  static final int QUEUE_SIZE = 256;

  /** Header and status take a descriptor each, and no chain may be longer than the queue. */
  private static final int SEGMENTS_MAX = QUEUE_SIZE - 2;

  /** So many requests are taken at once; then others may have the lock, and the event loop. */
  private static final int BATCH = 64;

  /**
   * After so long since it was told before, the driver is told as soon as a request ends. What has
   * ended by then does not wait for a step that the host may hold up, either: see {@link #run}.
   */
  private static final long BATCH_NANOS = TimeUnit.MICROSECONDS.toNanos(100);

  private static final int PATIENCE_MILLIS = 5_000;

  private final DiskEngine engine;
  private final int patienceMillis;
  private final RateLimiter limiter;
  private final RequestReader reader;
  private final DescriptorChain chain = new DescriptorChain(memory, QUEUE_SIZE);

  private final Requests requests;
  private long lastSignal;

  private final String serial;

  /** What the host was asked for. */
  private final LongAdder readBytes = new LongAdder();

  private final LongAdder writtenBytes = new LongAdder();
  private final LongAdder reads = new LongAdder();
  private final LongAdder writes = new LongAdder();

  /** Something other than a write has ended, and the driver was not told since. */
  private boolean answersWait;

  /** Guards all that is not final, but for what is volatile; never held when the lock is taken. */
  private final ReentrantLock turn = new ReentrantLock();

  /** It was logged that the host failed a request. */
  private boolean refusalTold;

  /** The host's disk was waited for in vain; nobody does so again. */
  private volatile boolean stuck;

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
    serial = disk.serial();
    this.patienceMillis = patienceMillis;
    limiter = new RateLimiter(limit, resources, () -> notified(QUEUE));
    reader = new RequestReader(memory, disk);
    requests = new Requests(engine);
    try {
      Pollable completions = engine.completions();
      if (completions != null) {
        watch(completions, () -> notified(QUEUE));
      }
    } catch (RuntimeException | Error e) {
      requests.close();
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
    turn.lock();
    try {
      if (!closed) {
        work();
      }
    } finally {
      turn.unlock();
    }
  }

  private void work() {
    lastSignal = resources().nanoTime();
    // In the turn: whoever takes it away then waits for the turn, and finds nothing in flight.
    VirtQueue queue = queue(QUEUE);
    collect(queue);
    if (queue == null) {
      return;
    }
    int budget = BATCH;
    queue.suppressNotifications();
    while (budget > 0 && requests.hasFree() && popWithinLimit(queue)) {
      budget--;
      begin(queue);
    }
    requests.submit();
    // What the host had in memory has ended by now; longer requests have their next step.
    collect(queue);
    requests.submit();
    tell(queue);
    // With no request free, the end of the next step comes back here, and the limiter's timer
    // where that holds the queue back.
    if (requests.hasFree()
        && !limiter.isWaiting()
        && (budget == 0 || queue.requestNotifications())) {
      processLater(QUEUE);
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
    Request request = requests.take();
    reader.read(queue, chain, request);
    run(queue, request);
  }

  /**
   * Does a request's steps until one is under way, or all are done. Before a step that changes the
   * disk the driver is told of what has ended: the host holds up who writes faster than its disk.
   * Not of writes, which are held up in any case, and are told of together.
   */
  private void run(VirtQueue queue, Request request) {
    boolean wrote = false;
    while (request.proceed()) {
      if (queue.isStopped()) {
        requests.release(request);
        return;
      }
      wrote = request.step() == Step.WRITE;
      if (answersWait && request.step() != Step.READ) {
        tell(queue);
      }
      count(request);
      if (!requests.start(request)) {
        return;
      }
    }
    complete(queue, request);
    answersWait |= !wrote;
    if (resources().nanoTime() - lastSignal > BATCH_NANOS) {
      tell(queue);
    }
  }

  private void count(Request request) {
    if (request.step() == Step.READ) {
      reads.increment();
      readBytes.add(request.length());
    } else if (request.step() == Step.WRITE) {
      writes.increment();
      writtenBytes.add(request.length());
    }
  }

  @Override
  protected void addDiskUse(Map<String, DiskUse> disks) {
    disks.put(
        serial,
        DiskUse.of(
            DataSize.bytes(readBytes.sum()),
            DataSize.bytes(writtenBytes.sum()),
            reads.sum(),
            writes.sum()));
  }

  /** Tells the driver of what has ended, if it wants to know. */
  private void tell(VirtQueue queue) {
    lastSignal = resources().nanoTime();
    answersWait = false;
    interruptIfNeeded(queue);
  }

  private void complete(VirtQueue queue, Request request) {
    memory.putByte(request.statusAddress(), request.status().number);
    queue.push(request.head(), request.written());
    requests.release(request);
    if (request.isRefused() && !refusalTold) {
      refusalTold = true;
      logger().log(Level.WARNING, refusal(request));
    }
  }

  /** What the guest sees is an I/O error only. */
  private String refusal(Request request) {
    String what =
        switch (request.step()) {
          case READ -> "be read";
          case WRITE -> "be written";
          case SYNC -> "be synced";
          case PUNCH, ZERO -> "give space back";
        };
    return name()
        + ": "
        + engine.image()
        + " cannot "
        + what
        + (request.step() == Step.SYNC ? "" : " at " + request.position())
        + ": "
        + (request.refusal() == 0 ? "the file became shorter" : Errno.describe(-request.refusal()))
        + ". The guest gets an I/O error; what else fails of this disk is not logged";
  }

  /** Takes the steps that have ended, and goes on with their requests. */
  private void collect(@Nullable VirtQueue queue) {
    for (Request request = requests.next(); request != null; request = requests.next()) {
      if (queue == null || request.isOrphaned()) {
        requests.release(request);
      } else {
        run(queue, request);
      }
    }
  }

  /** The kernel writes into guest memory by itself for what it was asked to read. */
  @Override
  protected void onPause() {
    turn.lock();
    try {
      VirtQueue queue = queue(QUEUE);
      if (queue == null) {
        return;
      }
      long start = System.nanoTime();
      while (requests.memoryInUse()) {
        long left = patienceMillis - TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
        if (left <= 0) {
          throw silentDisk();
        }
        requests.await((int) left);
        collect(queue);
        requests.submit();
      }
      tell(queue);
    } finally {
      turn.unlock();
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
    if (!closing && (stuck || !waitForMemory())) {
      stuck = true;
      throw silentDisk();
    }
  }

  private IllegalStateException silentDisk() {
    return new IllegalStateException(
        name() + ": the host's disk has not answered for " + patienceMillis + " ms");
  }

  private boolean waitForMemory() {
    long start = System.nanoTime();
    try {
      if (!turn.tryLock(patienceMillis, TimeUnit.MILLISECONDS)) {
        return false;
      }
    } catch (InterruptedException e) {
      // Of a machine's thread, which is nobody's to interrupt.
      Thread.currentThread().interrupt();
      return false;
    }
    try {
      return requests.quiesce(false, start, patienceMillis);
    } finally {
      turn.unlock();
    }
  }

  @Override
  public void close() {
    closing = true;
    super.close();
    turn.lock();
    try {
      if (closed) {
        return;
      }
      closed = true;
      if (requests.quiesce(true, System.nanoTime(), patienceMillis)) {
        requests.close();
        return;
      }
      if (requests.memoryInUse()) {
        memory.leak();
      }
    } finally {
      turn.unlock();
    }
    logger()
        .log(
            Level.WARNING,
            name()
                + ": the host's disk has not answered for "
                + patienceMillis
                + " ms; "
                + engine.image()
                + " stays open, and what the kernel may still use stays mapped");
  }

  private static System.Logger logger() {
    return System.getLogger(BlockDevice.class.getName());
  }
}
