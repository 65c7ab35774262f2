// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * A byte stream between host and guest (AF_VSOCK, SOCK_STREAM), without blocking calls.
 *
 * <p>One thread at a time reads, one at a time writes (they may be two), any thread closes.
 * Readiness is edge triggered: after {@link #read} returned 0, or {@link #write} took less than it
 * was given, the event listener is called when trying again makes sense; until then nothing is
 * promised. Memory per connection is bounded by its receive buffer, which the guest cannot exceed
 * (credit, virtio 1.2 section 5.10.6.3).
 */
public interface GuestConnection extends AutoCloseable {
  /**
   * Reads what is there, without waiting.
   *
   * @return the number of bytes put into the buffer; 0 when there are none now; -1 when the guest
   *     has shut down its output and everything was read
   * @throws GuestLostException when the machine has ended, or its guest has reset its socket
   *     device; bytes received before come first
   * @throws java.net.SocketException likewise when the connection was reset, and the host does not
   *     know yet whether its machine ends
   * @throws IOException likewise when the connection was reset
   */
  int read(ByteBuffer destination) throws IOException;

  /**
   * Takes as many bytes as the guest has room for, without waiting.
   *
   * @return the number of bytes taken, possibly 0
   * @throws GuestLostException when the machine has ended, or its guest has reset its socket device
   * @throws java.net.SocketException as {@link #read} does
   * @throws IOException when the guest reads no more, or the connection was reset
   */
  int write(ByteBuffer source) throws IOException;

  /**
   * Takes as many bytes of several buffers, one after the other, as the guest has room for, without
   * waiting. It is as a {@link #write(ByteBuffer)} of each, but the guest may be told only once.
   *
   * @param sources of which the first {@code count} are written
   * @return the number of bytes taken, possibly 0
   * @throws GuestLostException when the machine has ended, or its guest has reset its socket device
   * @throws IOException when the guest reads no more, or the connection was reset
   */
  default int write(ByteBuffer[] sources, int count) throws IOException {
    int taken = 0;
    for (int i = 0; i < count; i++) {
      taken += write(sources[i]);
      if (sources[i].hasRemaining()) {
        break;
      }
    }
    return taken;
  }

  /**
   * Ends this side's output: the guest reads end-of-stream after the bytes already taken.
   * Idempotent.
   */
  void shutdownOutput() throws IOException;

  /**
   * Sets what is called when the connection became readable or writable, ended or was reset. It is
   * called on a thread of the hypervisor and must not block; it may read and write. Called at least
   * once after it was set, so that an event that came before is not lost. Replaces the previous
   * one.
   */
  void setEventListener(Runnable listener);

  /** The guest's port. */
  int guestPort();

  /** The host's port. */
  int hostPort();

  /**
   * Ends the connection; bytes taken by write but not yet received by the guest may be lost. They
   * are, at the latest, when the guest has not taken them half a minute later. Idempotent, never
   * throws.
   */
  @Override
  void close();
}
