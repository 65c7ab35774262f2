// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.seccomp;

import dev.nacelle.container.SeccompRule.Condition;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/**
 * Instructions of classic BPF over struct seccomp_data (linux/seccomp.h), as linux/filter.h numbers
 * them. Jumps go forwards; a conditional one reaches 255 instructions, an unconditional one any.
 */
final class BpfProgram {
  private static final int LOAD = 0x20; // BPF_LD | BPF_W | BPF_ABS
  private static final int AND = 0x54; // BPF_ALU | BPF_AND | BPF_K
  private static final int JUMP = 0x05; // BPF_JMP | BPF_JA
  private static final int JUMP_EQUAL = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
  private static final int JUMP_GREATER = 0x25; // BPF_JMP | BPF_JGT | BPF_K
  private static final int JUMP_NOT_LESS = 0x35; // BPF_JMP | BPF_JGE | BPF_K
  private static final int RETURN = 0x06; // BPF_RET | BPF_K

  private static final int NUMBER = 0;
  private static final int ARCHITECTURE = 4;
  private static final int ARGUMENTS = 16;

  private static final int MAX_CONDITIONAL_JUMP = 255;

  /** Where a comparison goes: to the next instruction, to what holds, or past it. */
  private static final int NEXT = 0;

  private static final int HOLDS = -1;
  private static final int FAILS = -2;

  private record Instruction(int code, int ifTrue, int ifFalse, int k) {}

  private final List<Instruction> instructions = new ArrayList<>();

  int length() {
    return instructions.size();
  }

  byte[] bytes() {
    ByteBuffer bytes = ByteBuffer.allocate(8 * length()).order(ByteOrder.LITTLE_ENDIAN);
    for (Instruction one : instructions) {
      bytes.putShort((short) one.code);
      bytes.put((byte) one.ifTrue).put((byte) one.ifFalse).putInt(one.k);
    }
    return bytes.array();
  }

  private BpfProgram add(int code, int ifTrue, int ifFalse, int k) {
    instructions.add(new Instruction(code, ifTrue, ifFalse, k));
    return this;
  }

  BpfProgram loadNumber() {
    return add(LOAD, 0, 0, NUMBER);
  }

  BpfProgram loadArchitecture() {
    return add(LOAD, 0, 0, ARCHITECTURE);
  }

  BpfProgram ret(int value) {
    return add(RETURN, 0, 0, value);
  }

  BpfProgram then(BpfProgram next) {
    instructions.addAll(next.instructions);
    return this;
  }

  /** A program that returns, for when what was loaded is that number. */
  BpfProgram ifEqual(int number, BpfProgram holds) {
    return branch(new Instruction(JUMP_EQUAL, HOLDS, FAILS, number), holds);
  }

  /** A program that returns, for when what was loaded is less, without a sign. */
  BpfProgram ifLess(int number, BpfProgram holds) {
    return branch(new Instruction(JUMP_NOT_LESS, FAILS, HOLDS, number), holds);
  }

  /** The last of the instructions before a program, over which it jumps. */
  private BpfProgram branch(Instruction test, BpfProgram holds) {
    return branch(List.of(test), holds);
  }

  /** A program that returns, for when all conditions hold. */
  BpfProgram ifAll(List<Condition> conditions, BpfProgram holds) {
    List<Instruction> tests = new ArrayList<>();
    for (int i = 0; i < conditions.size(); i++) {
      List<Instruction> test = test(conditions.get(i));
      boolean isLast = i == conditions.size() - 1;
      for (int at = 0; at < test.size(); at++) {
        Instruction one = test.get(at);
        int next = test.size() - at - 1;
        tests.add(
            isLast
                ? one
                : new Instruction(
                    one.code,
                    one.ifTrue == HOLDS ? next : one.ifTrue,
                    one.ifFalse == HOLDS ? next : one.ifFalse,
                    one.k));
      }
    }
    return branch(tests, holds);
  }

  /** Tests whose jumps to what holds, and past it, are yet to be counted. */
  private BpfProgram branch(List<Instruction> tests, BpfProgram holds) {
    // A test jumps over those after it, and over a program that a byte can count, or to a jump.
    boolean isNear = tests.size() + holds.length() <= MAX_CONDITIONAL_JUMP;
    for (int at = 0; at < tests.size(); at++) {
      Instruction test = tests.get(at);
      int end = tests.size() - at - 1;
      // When it is far: the jump past it comes first, and what holds after that.
      int holdsAt = isNear ? end : end + 1;
      int failsAt = isNear ? end + holds.length() : end;
      instructions.add(
          new Instruction(
              test.code,
              target(test.ifTrue, holdsAt, failsAt),
              target(test.ifFalse, holdsAt, failsAt),
              test.k));
    }
    if (!isNear) {
      boolean endsInTest = !tests.isEmpty();
      if (endsInTest) {
        add(JUMP, 0, 0, holds.length());
      }
    }
    return then(holds);
  }

  private static int target(int jump, int holdsAt, int failsAt) {
    return jump == HOLDS ? holdsAt : jump == FAILS ? failsAt : jump;
  }

  /** Arguments have 64 bits, and are compared by halves. */
  private static List<Instruction> test(Condition condition) {
    int at = ARGUMENTS + 8 * condition.index();
    Instruction loadLow = new Instruction(LOAD, 0, 0, at);
    Instruction loadHigh = new Instruction(LOAD, 0, 0, at + 4);
    int low = (int) condition.value();
    int high = (int) (condition.value() >>> 32);
    return switch (condition.comparison()) {
      case EQ ->
          List.of(
              loadHigh,
              new Instruction(JUMP_EQUAL, NEXT, FAILS, high),
              loadLow,
              new Instruction(JUMP_EQUAL, HOLDS, FAILS, low));
      case NE ->
          List.of(
              loadHigh,
              new Instruction(JUMP_EQUAL, NEXT, HOLDS, high),
              loadLow,
              new Instruction(JUMP_EQUAL, FAILS, HOLDS, low));
      case GT -> ordered(loadHigh, high, loadLow, JUMP_GREATER, low, HOLDS, FAILS);
      case GE -> ordered(loadHigh, high, loadLow, JUMP_NOT_LESS, low, HOLDS, FAILS);
      case LE -> ordered(loadHigh, high, loadLow, JUMP_GREATER, low, FAILS, HOLDS);
      case LT -> ordered(loadHigh, high, loadLow, JUMP_NOT_LESS, low, FAILS, HOLDS);
      case MASKED_EQ ->
          List.of(
              loadHigh,
              new Instruction(AND, 0, 0, high),
              new Instruction(JUMP_EQUAL, NEXT, FAILS, (int) (condition.valueTwo() >>> 32)),
              loadLow,
              new Instruction(AND, 0, 0, low),
              new Instruction(JUMP_EQUAL, HOLDS, FAILS, (int) condition.valueTwo()));
    };
  }

  /** The higher halves decide, unless they are equal. */
  private static List<Instruction> ordered(
      Instruction loadHigh,
      int high,
      Instruction loadLow,
      int comparison,
      int low,
      int more,
      int less) {
    return List.of(
        loadHigh,
        new Instruction(JUMP_GREATER, more, NEXT, high),
        new Instruction(JUMP_EQUAL, NEXT, less, high),
        loadLow,
        new Instruction(comparison, more, less, low));
  }
}
