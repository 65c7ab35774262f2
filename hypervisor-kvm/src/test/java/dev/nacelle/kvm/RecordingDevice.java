// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.kvm.device.AttachedDevice;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** A device that tells the test what the guest did. In a machine of tests it is at 0xd0001000. */
class RecordingDevice implements AttachedDevice {
  private final BlockingQueue<String> accesses = new LinkedBlockingQueue<>();

  /** The guest's next access: {@code "write OFFSET SIZE VALUE"} or {@code "read OFFSET SIZE"}. */
  String next() throws InterruptedException {
    return accesses.take();
  }

  /** Adds something to what {@link #next} tells. */
  void record(String access) {
    accesses.add(access);
  }

  @Override
  public long read(long offset, int size) {
    record("read " + offset + " " + size);
    return 0x8877_6655_4433_2211L;
  }

  @Override
  public void write(long offset, int size, long value) {
    record("write " + offset + " " + size + " " + Long.toHexString(value));
  }

  @Override
  public void close() {
    record("close");
  }
}
