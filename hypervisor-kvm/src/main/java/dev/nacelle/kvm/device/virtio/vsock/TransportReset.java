// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import dev.nacelle.kvm.device.virtio.DescriptorChain;
import dev.nacelle.kvm.device.virtio.VirtQueue;

/**
 * Whether the guest knows that its connections are no more (virtio 1.2 section 5.10.6.7). Guarded
 * by the device's lock.
 */
final class TransportReset {
  /** VIRTIO_VSOCK_EVENT_TRANSPORT_RESET in a struct virtio_vsock_event. */
  private static final byte[] EVENT = {0, 0, 0, 0};

  private enum State {
    NONE,
    /** The guest has not been told yet. */
    OWED,
    /** It has been told; it acknowledges by returning the buffer. */
    TOLD
  }

  private State state = State.NONE;
  private int buffersWhenTold;

  /** The guest must be told. */
  void owe() {
    state = State.OWED;
  }

  /** A guest that starts over needs no telling. */
  void forget() {
    state = State.NONE;
  }

  /** Whether packets may be sent to the guest. */
  boolean isAcknowledged() {
    return state == State.NONE;
  }

  /** Tells the guest where it has given a buffer for that, and looks for its acknowledgement. */
  void tell(VirtQueue events, DescriptorChain chain) {
    while (state == State.OWED) {
      if (events.pop(chain)) {
        if (chain.writableBytes() < EVENT.length) {
          throw events.fault("an event buffer of " + chain.writableBytes() + " bytes");
        }
        chain.write(0, EVENT, 0, EVENT.length);
        // Before the guest can return the buffer: it may do so while we are here.
        buffersWhenTold = events.waiting();
        events.push(chain, EVENT.length);
        state = State.TOLD;
      } else if (!events.requestNotifications()) {
        return;
      }
    }
    if (state == State.TOLD && events.requestNotificationsBeyond(buffersWhenTold)) {
      state = State.NONE;
    }
  }
}
