// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import dev.nacelle.kvm.sys.FileDescriptor;
import dev.nacelle.kvm.sys.IoUring;
import dev.nacelle.kvm.sys.Pollable;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Does to an image what the steps of requests say: at once, or several at a time in the background.
 * Owns the image. Not safe for use from several threads; its device locks.
 */
public interface DiskEngine extends AutoCloseable {
  /**
   * The quickest that this host has: io_uring where it is allowed, else plain system calls.
   *
   * @param image the disk, open for writing unless it is read-only; the engine closes it
   * @throws dev.nacelle.kvm.sys.ErrnoException when the host has no descriptor left
   */
  static DiskEngine of(FileDescriptor image) {
    Optional<IoUring> ring = IoUring.open(UringEngine.CAPACITY);
    return ring.isPresent() ? new UringEngine(image, ring.get()) : new SynchronousEngine(image);
  }

  /** The image. */
  FileDescriptor image();

  /** How many requests may have a step under way at a time. */
  int capacity();

  /**
   * Does a request's step, or prepares it.
   *
   * @param alone whether no other request has a step under way
   * @return true when it is done and {@link Request#ended} was told so; false when {@link #next}
   *     will give the request once it is
   */
  boolean start(Request request, boolean alone);

  /** Has what was prepared done. */
  void submit();

  /** A request whose step has been done, and was told so; or null. */
  @Nullable Request next();

  /** What signals that {@link #next} may have something; null when it never does. */
  @Nullable Pollable completions();

  /** Has a step that is under way come to an end soon; {@link #next} gives the request then. */
  void cancel(Request request);

  /** Waits until {@link #next} may have something, or the time is over. */
  void await(int millis);

  /** Closes the image. No step may be under way. Idempotent. */
  @Override
  void close();
}
