// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.DiskUse;
import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.GuestFault;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.Pollable;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * A virtio device without its transport: what it offers, and its queues while a driver drives it.
 *
 * <p>Queues are processed on the event loop of {@link DeviceResources}; activation and reset come
 * on vCPU threads. Everything that touches a queue holds {@link #lock}, so that when {@link #reset}
 * or {@link #close} returns, nothing is in flight and guest memory is not touched any more. Both
 * stop the queues before they wait for the lock, so a guest cannot make that long by the work it
 * gives. Nothing that could wait for another machine's or the user's code is called with the lock
 * held, nor what waits for the host: a device that does, as a disk, guards its work by something of
 * its own, which it waits for in {@link #onReset} and {@link #onQueueStopped} for a limited time.
 */
public abstract class VirtioDevice implements AutoCloseable {
  /** Guards the queues and whatever the device keeps with them. */
  protected final Object lock = new Object();

  /** The guest's memory. */
  protected final GuestMemory memory;

  private final DeviceResources resources;
  private final VirtioInterrupt interrupt;
  private final String name;
  private final int id;
  private final long features;
  private final byte[] configuration; // its content is guarded by itself
  private volatile int generation; // changed with the configuration locked
  private final int[] queueSizes;
  private final Doorbell[] doorbells;

  /** Complete from the start, so that it is only read; the counters change. */
  private final Map<Ignored, AtomicLong> ignored = new EnumMap<>(Ignored.class);

  /**
   * Null unless the driver has activated the device; an element is null where it has no queue.
   * Changed with the lock.
   */
  private volatile @Nullable VirtQueue @Nullable [] queues;

  /** Nobody is to find a queue. Changed with the lock. */
  private volatile boolean paused;

  /**
   * @param name as Linux calls its driver, for messages
   * @param id virtio 1.2 section 5
   * @param features what the device offers beyond what every device does
   * @param configuration the device's configuration space, at first
   * @param queueSizes the largest size of each queue
   */
  protected VirtioDevice(
      DeviceResources resources,
      String name,
      int id,
      long features,
      byte[] configuration,
      int... queueSizes) {
    this.resources = resources;
    this.memory = resources.memory();
    this.interrupt = new VirtioInterrupt(resources.interrupt());
    this.name = name;
    this.id = id;
    this.features =
        features
            | VirtioFeatures.VERSION_1
            | VirtioFeatures.INDIRECT_DESC
            | VirtioFeatures.EVENT_IDX;
    this.configuration = configuration.clone();
    this.queueSizes = queueSizes.clone();
    for (Ignored what : Ignored.values()) {
      ignored.put(what, new AtomicLong());
    }
    doorbells = new Doorbell[queueSizes.length];
    for (int i = 0; i < doorbells.length; i++) {
      doorbells[i] = new Doorbell(i);
    }
  }

  /** Has a queue processed on the event loop; however often it is rung, it waits there once. */
  private final class Doorbell implements Runnable {
    private final int queue;
    private final AtomicBoolean rung = new AtomicBoolean();

    Doorbell(int queue) {
      this.queue = queue;
    }

    void ring() {
      if (rung.compareAndSet(false, true)) {
        boolean accepted = false;
        try {
          accepted = resources.execute(this);
        } finally {
          if (!accepted) {
            rung.set(false);
          }
        }
      }
    }

    @Override
    public void run() {
      rung.set(false);
      notified(queue);
    }
  }

  protected final DeviceResources resources() {
    return resources;
  }

  final VirtioInterrupt interrupt() {
    return interrupt;
  }

  /** The device's name in messages. */
  public final String name() {
    return name;
  }

  final int id() {
    return id;
  }

  final long features() {
    return features;
  }

  final int queueCount() {
    return queueSizes.length;
  }

  final int maximumQueueSize(int queue) {
    return queueSizes[queue];
  }

  /** Up to 8 bytes of the configuration space; what is behind its end reads as 0. */
  final long readConfiguration(long offset, int size) {
    long value = 0;
    synchronized (configuration) {
      for (int i = 0; i < size && offset + i < configuration.length; i++) {
        value |= Byte.toUnsignedLong(configuration[(int) offset + i]) << (8 * i);
      }
    }
    return value;
  }

  /** ConfigGeneration (section 4.2.2): another one after each change. */
  final int configurationGeneration() {
    return generation;
  }

  /**
   * The driver writes to the configuration space.
   *
   * @return false when that has no effect
   */
  protected boolean writeConfiguration(long offset, int size, long value) {
    return false;
  }

  /** Writes 4 bytes of the configuration space without a word to the driver, whose they are. */
  protected final void putConfiguration(int offset, int value) {
    synchronized (configuration) {
      for (int i = 0; i < Integer.BYTES; i++) {
        configuration[offset + i] = (byte) (value >>> (8 * i));
      }
    }
  }

  /** Changes 4 bytes of the configuration space, and tells the driver if there is one. */
  protected final void changeConfiguration(int offset, int value) {
    synchronized (configuration) {
      putConfiguration(offset, value);
      generation++;
    }
    if (queues != null) {
      interrupt.configurationChanged();
    }
  }

  /**
   * The driver is ready (DRIVER_OK).
   *
   * @param layouts one for each queue; null where the driver did not make it ready
   * @param negotiated features
   * @throws GuestFault when a layout is not valid
   */
  final void activate(@Nullable QueueLayout[] layouts, long negotiated) {
    @Nullable VirtQueue[] created = new VirtQueue[layouts.length];
    for (int i = 0; i < layouts.length; i++) {
      QueueLayout layout = layouts[i];
      if (layout != null) {
        String queueName = name + " queue " + i;
        if (Integer.compareUnsigned(layout.size(), queueSizes[i]) > 0) {
          throw new GuestFault(
              queueName
                  + ": size "
                  + Integer.toUnsignedString(layout.size())
                  + " is more than QueueSizeMax, "
                  + queueSizes[i]);
        }
        created[i] = new VirtQueue(memory, queueName, layout, negotiated);
      }
    }
    synchronized (lock) {
      onActivate(negotiated);
      queues = created;
    }
  }

  /**
   * A queue while the device is active and not paused, and the driver has made it ready. Call with
   * the lock, or with what the device waits for where a queue is taken away.
   */
  protected final @Nullable VirtQueue queue(int index) {
    @Nullable VirtQueue[] active = queues;
    return active == null || paused ? null : active[index];
  }

  /** {@link dev.nacelle.kvm.device.AttachedDevice#pause}. */
  public final void pause() {
    onPause();
    synchronized (lock) {
      paused = true;
    }
  }

  /** {@link dev.nacelle.kvm.device.AttachedDevice#resume}. */
  public final void resume() {
    synchronized (lock) {
      paused = false;
    }
    for (Doorbell doorbell : doorbells) {
      doorbell.ring();
    }
  }

  /**
   * Has what is under way with guest memory come to its end. On the event loop, without the lock.
   */
  protected void onPause() {}

  /** The driver takes one queue away (QueueReady = 0). */
  final void stopQueue(int index) {
    @Nullable VirtQueue[] active = queues;
    if (active == null) {
      return;
    }
    stop(active[index]);
    synchronized (lock) {
      active[index] = null;
      onQueueStopped(index);
    }
  }

  private static void stop(@Nullable VirtQueue queue) {
    if (queue != null) {
      queue.stop();
    }
  }

  /** The driver resets the device (virtio 1.2 section 2.4). */
  final void reset() {
    deactivate();
    interrupt.reset();
    afterReset();
  }

  protected final void deactivate() {
    @Nullable VirtQueue[] active = queues;
    if (active != null) {
      for (VirtQueue queue : active) {
        stop(queue);
      }
    }
    synchronized (lock) {
      queues = null;
      onReset();
    }
  }

  /** The driver has, or may have, made buffers available. Called on the event loop. */
  protected final void notified(int queue) {
    if (paused) {
      return; // all queues are looked at when it goes on
    }
    try {
      process(queue);
    } catch (RuntimeException | Error e) {
      // The machine ends by this. Until it has, the device stays away from the guest's memory.
      try {
        deactivate();
      } catch (RuntimeException | Error other) {
        e.addSuppressed(other);
      }
      throw e;
    }
  }

  /**
   * Has a queue processed on the event loop after whatever waits there: the rest of what one turn
   * does not do, for one. From any thread; a queue that waits already is not added again.
   */
  protected final void processLater(int queue) {
    doorbells[queue].ring();
  }

  /** Counts what the driver did, and goes on. From any thread. */
  protected final void ignored(Ignored what) {
    Objects.requireNonNull(ignored.get(what)).incrementAndGet();
  }

  /** As {@link dev.nacelle.kvm.device.AttachedDevice#addDiskUse}. */
  protected void addDiskUse(Map<String, DiskUse> disks) {}

  final void addIgnored(Map<String, Long> counts) {
    ignored.forEach(
        (what, counter) -> {
          if (counter.get() > 0) {
            counts.merge(name + ": " + what, counter.get(), Long::sum);
          }
        });
  }

  /** Processes a queue; called on the event loop, without the lock. */
  protected abstract void process(int queue);

  /**
   * The queues will be there, with these features, for whoever looks after this. Called with the
   * lock, on a vCPU thread.
   */
  protected void onActivate(long negotiated) {}

  /** One queue is gone; its buffers are the driver's again on return. Called with the lock. */
  protected void onQueueStopped(int index) {}

  /**
   * The queues are gone; also called when there were none. Guest memory is the driver's again on
   * return. Called with the lock.
   */
  protected void onReset() {}

  /** Called after {@link #onReset}, without the lock. */
  protected void afterReset() {}

  /** Sets the status bit and raises an edge if the driver wants to know of used buffers. */
  protected final void interruptIfNeeded(VirtQueue queue) {
    if (queue.interruptNeeded()) {
      interrupt.usedBuffer();
    }
  }

  /** Has a handler called on the event loop after each signal; call it while constructed. */
  protected final void watch(Pollable source, Runnable handler) {
    resources.watch(source, handler);
  }

  /** Runs a task on the event loop, after whatever waits there; false when the loop has ended. */
  protected final boolean execute(Runnable task) {
    return resources.execute(task);
  }

  /** The active queues' states, in order; null for one that is not in use; empty when inactive. */
  final List<@Nullable QueueState> queueStates() {
    synchronized (lock) {
      List<@Nullable QueueState> states = new ArrayList<>();
      @Nullable VirtQueue[] active = queues;
      if (active != null) {
        for (VirtQueue queue : active) {
          states.add(queue == null ? null : queue.state());
        }
      }
      return states;
    }
  }

  /** Takes the queues away for good and releases what the device holds. Idempotent. */
  @Override
  public void close() {
    deactivate();
  }
}
