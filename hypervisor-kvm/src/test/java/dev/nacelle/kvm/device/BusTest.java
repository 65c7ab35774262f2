// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class BusTest {
  private final List<String> accesses = new ArrayList<>();

  private PioDevice port(String name) {
    return new PioDevice() {
      @Override
      public int read(int offset, int size) {
        accesses.add(name + " read " + offset + " " + size);
        return 7;
      }

      @Override
      public void write(int offset, int size, int value) {
        accesses.add(name + " write " + offset + " " + size + " " + value);
      }
    };
  }

  private MmioDevice memory(String name) {
    return new MmioDevice() {
      @Override
      public long read(long offset, int size) {
        accesses.add(name + " read " + offset + " " + size);
        return 7;
      }

      @Override
      public void write(long offset, int size, long value) {
        accesses.add(name + " write " + offset + " " + size + " " + value);
      }
    };
  }

  @Test
  void findsThePortsDevice() {
    PortBus bus = new PortBus();
    bus.add(0x70, 2, port("a"));
    bus.add(0x72, 4, port("b"));
    assertEquals(7, bus.read(0x71, 1));
    bus.write(0x72, 4, 9);
    assertEquals(List.of("a read 1 1", "b write 0 4 9"), accesses);
  }

  @Test
  void answersAllOnesForAbsentAndStraddledPorts() {
    PortBus bus = new PortBus();
    bus.add(0x70, 2, port("a"));
    for (int[] access : new int[][] {{0x6f, 1}, {0x6f, 2}, {0x71, 2}, {0x72, 1}, {0xffff, 4}}) {
      assertEquals(-1, bus.read(access[0], access[1]));
      bus.write(access[0], access[1], 0);
    }
    assertEquals(List.of(), accesses);
  }

  @Test
  void findsTheMemoryMappedDevice() {
    MmioBus bus = new MmioBus();
    bus.add(0xd000_0000L, 0x1000, memory("a"));
    bus.add(0xd000_1000L, 0x1000, memory("b"));
    assertEquals(7, bus.read(0xd000_0ff8L, 8));
    bus.write(0xd000_1000L, 4, 9);
    assertEquals(List.of("a read 4088 8", "b write 0 4 9"), accesses);
  }

  @Test
  void answersAllOnesForAbsentStraddledAndOddAccesses() {
    MmioBus bus = new MmioBus();
    bus.add(0xd000_0000L, 0x1000, memory("a"));
    long[][] absent = {
      {0xcfff_ffffL, 1},
      {0xcfff_fffcL, 8},
      {0xd000_0ffcL, 8},
      {0xd000_1000L, 1},
      {-1, 1},
      {Long.MIN_VALUE, 8},
      {Long.MAX_VALUE, 8},
      {0xd000_0000L, 3}
    };
    for (long[] access : absent) {
      assertEquals(-1, bus.read(access[0], (int) access[1]));
      bus.write(access[0], (int) access[1], 0);
    }
    assertEquals(List.of(), accesses);
  }
}
