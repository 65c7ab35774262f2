// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import dev.nacelle.kvm.sys.FileDescriptor;
import dev.nacelle.kvm.sys.Pollable;
import org.jspecify.annotations.Nullable;

/** Does each step at once, by a system call that waits for the disk: for hosts without io_uring. */
public final class SynchronousEngine implements DiskEngine {
  private final FileDescriptor image;

  /**
   * @param image see {@link DiskEngine#of}
   */
  public SynchronousEngine(FileDescriptor image) {
    this.image = image;
  }

  @Override
  public FileDescriptor image() {
    return image;
  }

  @Override
  public int capacity() {
    return 1;
  }

  @Override
  public boolean start(Request request, boolean alone) {
    perform(image, request);
    return true;
  }

  /** Does the step of a request, and tells it what came of that. */
  static void perform(FileDescriptor image, Request request) {
    long position = request.position();
    request.ended(
        switch (request.step()) {
          case READ -> image.read(position, request.vector());
          case WRITE -> image.write(position, request.vector());
          case SYNC -> image.sync();
          case PUNCH -> image.punchHole(position, request.length());
          case ZERO -> image.zeroRange(position, request.length());
        });
  }

  @Override
  public void submit() {}

  @Override
  public @Nullable Request next() {
    return null;
  }

  @Override
  public @Nullable Pollable completions() {
    return null;
  }

  @Override
  public void cancel(Request request) {}

  @Override
  public void await(int millis) {}

  @Override
  public void close() {
    image.close();
  }
}
