// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.check;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeMap;

/** The system calls of Linux on x86-64 processors, by name. */
public final class SystemCalls {
  /** What a program may make system calls as. */
  public enum Architecture {
    /** 64-bit programs. */
    X86_64(0),
    /** 64-bit programs with 32-bit pointers. */
    X32(1),
    /** 32-bit programs. */
    X86(2);

    private final int column;

    Architecture(int column) {
      this.column = column;
    }
  }

  private static final Map<String, int[]> NUMBERS = read();
  private static final int NONE = -1;

  private SystemCalls() {}

  private static Map<String, int[]> read() {
    Map<String, int[]> numbers = new TreeMap<>();
    try (BufferedReader lines =
        new BufferedReader(
            new InputStreamReader(
                Objects.requireNonNull(SystemCalls.class.getResourceAsStream("system-calls.txt")),
                StandardCharsets.UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        if (!line.startsWith("#")) {
          String[] fields = line.split(" ", -1);
          numbers.put(
              fields[0], new int[] {number(fields[1]), number(fields[2]), number(fields[3])});
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return Collections.unmodifiableMap(numbers);
  }

  private static int number(String field) {
    return field.equals("-") ? NONE : Integer.parseInt(field);
  }

  /** Names of all that this version of the library knows, sorted. */
  public static Set<String> names() {
    return NUMBERS.keySet();
  }

  /** The number of a system call, where the architecture has it; of x32's without its bit. */
  public static OptionalInt number(String name, Architecture architecture) {
    int[] numbers = NUMBERS.get(name);
    int number = numbers == null ? NONE : numbers[architecture.column];
    return number == NONE ? OptionalInt.empty() : OptionalInt.of(number);
  }
}
