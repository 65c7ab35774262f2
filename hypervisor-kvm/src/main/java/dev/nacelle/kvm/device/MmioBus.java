// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

import java.util.Arrays;

/**
 * Memory-mapped devices. Where none is, reads answer all ones and writes go nowhere; so does an
 * access that is only partly a device's, or of a size that no instruction has (KVM splits what
 * crosses pages). Changed only before the machine runs.
 */
public final class MmioBus {
  private long[] first = {};
  private long[] sizes = {};
  private MmioDevice[] devices = {};

  /** Puts a device at a range of addresses, below 2^63, that no other device has. */
  public void add(long address, long size, MmioDevice device) {
    int at = devices.length;
    first = Arrays.copyOf(first, at + 1);
    sizes = Arrays.copyOf(sizes, at + 1);
    devices = Arrays.copyOf(devices, at + 1);
    first[at] = address;
    sizes[at] = size;
    devices[at] = device;
  }

  /** The guest reads. */
  public long read(long address, int size) {
    int i = find(address, size);
    return i < 0 ? -1 : devices[i].read(address - first[i], size);
  }

  /** The guest writes. */
  public void write(long address, int size, long value) {
    int i = find(address, size);
    if (i >= 0) {
      devices[i].write(address - first[i], size, value);
    }
  }

  private int find(long address, int size) {
    if (Integer.bitCount(size) == 1) {
      for (int i = 0; i < devices.length; i++) {
        long offset = address - first[i];
        if (offset >= 0 && offset <= sizes[i] - size) {
          return i;
        }
      }
    }
    return -1;
  }
}
