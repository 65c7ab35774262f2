// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.CapacityException;
import dev.nacelle.CapacityException.Limit;
import dev.nacelle.DataSize;
import org.jspecify.annotations.Nullable;

/**
 * How many machines a runtime may have at a time, and how much memory they may take together, those
 * that start included. Safe for use from several threads.
 */
final class Capacity {
  private final int maxMachines;
  private final @Nullable DataSize maxMemory;

  private int machines; // guarded by this
  private long bytes; // guarded by this

  /**
   * @param maxMemory null for no limit
   */
  Capacity(int maxMachines, @Nullable DataSize maxMemory) {
    this.maxMachines = maxMachines;
    this.maxMemory = maxMemory;
  }

  /** The room of one machine, until it is closed; which is idempotent. */
  final class Place implements AutoCloseable {
    private final DataSize memory;
    private boolean open = true; // guarded by the capacity

    private Place(DataSize memory) {
      this.memory = memory;
    }

    @Override
    public void close() {
      synchronized (Capacity.this) {
        if (open) {
          open = false;
          machines--;
          bytes -= memory.bytes();
        }
      }
    }
  }

  /**
   * Takes room for one more machine.
   *
   * @param what it is, for messages
   * @throws CapacityException when there is none
   */
  synchronized Place take(String what, DataSize memory) {
    if (machines >= maxMachines) {
      throw new CapacityException(
          Limit.SANDBOXES,
          "There is no room for " + what + ": " + maxMachines + " run or start already",
          "Close one, or raise maxSandboxes.");
    }
    // Without overflow: what was taken is within the limit.
    if (maxMemory != null && memory.bytes() > maxMemory.bytes() - bytes) {
      throw new CapacityException(
          Limit.GUEST_MEMORY,
          "There is no room for "
              + what
              + ", which may take "
              + memory
              + ": those that run or start may take "
              + DataSize.bytes(bytes)
              + " of "
              + maxMemory,
          "Close one, give it less memory, or raise maxGuestMemory.");
    }
    machines++;
    bytes += memory.bytes();
    return new Place(memory);
  }
}
