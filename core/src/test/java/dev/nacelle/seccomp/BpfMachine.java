// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.seccomp;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Runs filters as the kernel does: classic BPF over struct seccomp_data, and the checks of
 * seccomp_check_filter and bpf_check_classic (jumps forwards and inside, a return at the end).
 */
final class BpfMachine {
  private static final int DATA_BYTES = 64;

  private final ByteBuffer program;

  BpfMachine(byte[] program) {
    this.program = ByteBuffer.wrap(program).order(ByteOrder.LITTLE_ENDIAN);
    int length = program.length / 8;
    if (program.length % 8 != 0 || length == 0 || length > 4096) {
      throw new AssertionError("not 1 to 4096 instructions: " + program.length + " bytes");
    }
    for (int at = 0; at < length; at++) {
      int furthest =
          switch (code(at)) {
            case 0x05 -> at + 1 + k(at);
            case 0x15, 0x25, 0x35 -> at + 1 + Math.max(ifTrue(at), ifFalse(at));
            case 0x06 -> at;
            case 0x20 -> {
              if (k(at) < 0 || k(at) >= DATA_BYTES || k(at) % 4 != 0) {
                throw new AssertionError("loads from " + k(at));
              }
              yield at + 1;
            }
            case 0x54 -> at + 1;
            default -> throw new AssertionError("an instruction that there is not: " + code(at));
          };
      if (furthest >= length) {
        throw new AssertionError("the instruction " + at + " leads out of the program");
      }
    }
  }

  private int code(int at) {
    return program.getShort(8 * at) & 0xffff;
  }

  private int ifTrue(int at) {
    return program.get(8 * at + 2) & 0xff;
  }

  private int ifFalse(int at) {
    return program.get(8 * at + 3) & 0xff;
  }

  private int k(int at) {
    return program.getInt(8 * at + 4);
  }

  /** What the filter returns for a system call. */
  int run(int number, int architecture, long... arguments) {
    ByteBuffer data = ByteBuffer.allocate(DATA_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    data.putInt(number).putInt(architecture).putLong(0);
    for (long argument : arguments) {
      data.putLong(argument);
    }
    int accumulator = 0;
    int at = 0;
    while (true) {
      int k = k(at);
      switch (code(at)) {
        case 0x20 -> accumulator = data.getInt(k);
        case 0x54 -> accumulator &= k;
        case 0x05 -> at += k;
        case 0x15 -> at += accumulator == k ? ifTrue(at) : ifFalse(at);
        case 0x25 -> at += Integer.compareUnsigned(accumulator, k) > 0 ? ifTrue(at) : ifFalse(at);
        case 0x35 -> at += Integer.compareUnsigned(accumulator, k) >= 0 ? ifTrue(at) : ifFalse(at);
        default -> {
          return k;
        }
      }
      at++;
    }
  }
}
