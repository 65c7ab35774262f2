// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.RateLimit;
import dev.nacelle.kvm.device.DeviceResources;
import org.jspecify.annotations.Nullable;

/**
 * The entropy device (virtio 1.2 section 5.4): random bytes of the host's kernel, written straight
 * into the guest's buffer. A request gets at most {@link #MAXIMUM_BYTES}, which the specification
 * allows, so that the work for one is bounded.
 */
public final class EntropyDevice extends VirtioDevice {
  /** Most bytes for one buffer. */
  static final int MAXIMUM_BYTES = 64 * 1024;

  /** Virtio 1.2 section 5.4.1. */
  private static final int DEVICE_ID = 4;

  private static final int QUEUE_SIZE = 64;

  /** So many buffers in a row; other devices get their turn on the event loop in between. */
  private static final int BATCH = 16;

  private final DescriptorChain chain = new DescriptorChain(memory, QUEUE_SIZE);
  private final RateLimiter limiter;

  /**
   * @param limit of bytes given and of buffers; null for none
   */
  public EntropyDevice(DeviceResources resources, @Nullable RateLimit limit) {
    super(resources, "virtio-rng", DEVICE_ID, 0, new byte[0], QUEUE_SIZE);
    limiter = new RateLimiter(limit, resources, () -> notified(0));
  }

  @Override
  protected void process(int index) {
    synchronized (lock) {
      VirtQueue queue = queue(index);
      if (queue == null) {
        return;
      }
      int budget = BATCH;
      do {
        queue.suppressNotifications();
        while (budget > 0 && popWithinLimit(queue)) {
          budget--;
          queue.push(chain, fill());
        }
      } while (budget > 0 && !limiter.isWaiting() && queue.requestNotifications());
      interruptIfNeeded(queue);
      if (budget == 0) {
        processLater(index);
      }
    }
  }

  private boolean popWithinLimit(VirtQueue queue) {
    if (limiter.isWaiting() || !queue.pop(chain)) {
      return false;
    }
    if (limiter.admit(Math.min(chain.writableBytes(), MAXIMUM_BYTES))) {
      return true;
    }
    queue.putBack();
    return false;
  }

  private int fill() {
    if (chain.readableBytes() > 0) {
      ignored(Ignored.DIRECTION);
    }
    int done = 0;
    for (int i = chain.readableSegments(); i < chain.segments() && done < MAXIMUM_BYTES; i++) {
      int n = Math.min(chain.length(i), MAXIMUM_BYTES - done);
      memory.fillRandom(chain.address(i), n);
      done += n;
    }
    return done;
  }
}
