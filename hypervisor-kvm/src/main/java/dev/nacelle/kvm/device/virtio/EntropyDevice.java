// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.kvm.device.DeviceResources;

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
  private final Runnable processRest = this::processRest;

  /** Creates the device. */
  public EntropyDevice(DeviceResources resources) {
    super(resources, "virtio-rng", DEVICE_ID, 0, new byte[0], QUEUE_SIZE);
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
        while (budget > 0 && queue.pop(chain)) {
          budget--;
          queue.push(chain, fill(queue));
        }
      } while (budget > 0 && queue.requestNotifications());
      interruptIfNeeded(queue);
      if (budget == 0) {
        boolean ignored = execute(processRest);
      }
    }
  }

  private void processRest() {
    notified(0);
  }

  private int fill(VirtQueue queue) {
    if (chain.readableBytes() > 0) {
      throw queue.fault("a device-readable buffer, which section 5.4.6 forbids");
    }
    int done = 0;
    for (int i = 0; i < chain.segments() && done < MAXIMUM_BYTES; i++) {
      int n = Math.min(chain.length(i), MAXIMUM_BYTES - done);
      memory.fillRandom(chain.address(i), n);
      done += n;
    }
    return done;
  }
}
