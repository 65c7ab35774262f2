// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.sys.FileDescriptor;
import dev.nacelle.kvm.sys.Pollable;
import java.nio.file.Path;
import java.util.concurrent.CountDownLatch;
import org.jspecify.annotations.Nullable;

/**
 * A disk of a host that answers no more: the first system call for it does not return before {@link
 * #answer} is called, whether or not it is for a request.
 */
public final class HangingDisk implements DiskEngine {
  private final DiskEngine real;
  private final CountDownLatch hung = new CountDownLatch(1);
  private final CountDownLatch answer = new CountDownLatch(1);

  /** A disk with that image. */
  public HangingDisk(Path image) {
    real = TestEngine.SYNCHRONOUS.open(image, false);
  }

  /** The device, which waits for the disk for so long where it must not wait for ever. */
  public BlockDevice device(DeviceResources resources, int patienceMillis) {
    return new BlockDevice(
        resources, this, Disk.of(real.image(), false, "disk"), null, patienceMillis);
  }

  /** Waits until a thread hangs. */
  public void awaitHung() throws InterruptedException {
    hung.await();
  }

  /** The disk answers, and goes on doing so. */
  public void answer() {
    answer.countDown();
  }

  private void hang() {
    hung.countDown();
    try {
      answer.await();
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  @Override
  public FileDescriptor image() {
    return real.image();
  }

  @Override
  public int capacity() {
    return real.capacity();
  }

  @Override
  public boolean start(Request request, boolean alone) {
    hang();
    return real.start(request, alone);
  }

  @Override
  public void submit() {
    hang();
    real.submit();
  }

  @Override
  public @Nullable Request next() {
    hang();
    return real.next();
  }

  @Override
  public @Nullable Pollable completions() {
    return real.completions();
  }

  @Override
  public void cancel(Request request) {
    real.cancel(request);
  }

  @Override
  public void await(int millis) {
    real.await(millis);
  }

  @Override
  public void close() {
    real.close();
  }
}
