// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.memory;

import dev.nacelle.kvm.sys.FileDescriptor;
import dev.nacelle.kvm.sys.Mapping;

/** A guest's memory that another program has as well. */
public final class SharedMemory {
  private SharedMemory() {}

  /**
   * Maps a file as a guest's RAM.
   *
   * @param size of the RAM in bytes, a multiple of 4096; the file has as many
   */
  public static GuestMemory of(FileDescriptor file, long size) {
    return new GuestMemory(Mapping.shared(file, size));
  }
}
