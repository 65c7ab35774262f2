// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

import java.util.Arrays;

/**
 * The I/O ports. Where no device is, reads answer all ones and writes go nowhere, as on a PC; so
 * does an access that is only partly a device's. Changed only before the machine runs.
 */
public final class PortBus {
  private int[] first = {};
  private int[] end = {};
  private PioDevice[] devices = {};

  /** Puts a device at some ports that no other device has. */
  public void add(int firstPort, int count, PioDevice device) {
    int at = devices.length;
    first = Arrays.copyOf(first, at + 1);
    end = Arrays.copyOf(end, at + 1);
    devices = Arrays.copyOf(devices, at + 1);
    first[at] = firstPort;
    end[at] = firstPort + count;
    devices[at] = device;
  }

  /** The guest reads; size 1, 2 or 4. */
  public int read(int port, int size) {
    for (int i = 0; i < devices.length; i++) {
      if (port >= first[i] && port + size <= end[i]) {
        return devices[i].read(port - first[i], size);
      }
    }
    return -1;
  }

  /** The guest writes; size 1, 2 or 4. */
  public void write(int port, int size, int value) {
    for (int i = 0; i < devices.length; i++) {
      if (port >= first[i] && port + size <= end[i]) {
        devices[i].write(port - first[i], size, value);
        return;
      }
    }
  }
}
