// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * A Linux signal, by its number on x86-64 (signal(7)).
 *
 * @param number 1 to 64; 32 and above are real-time signals
 */
public record Signal(int number) {
  /** Hang-up of the controlling terminal. */
  public static final Signal HUP = new Signal(1);

  /** Interrupt from the keyboard, as Ctrl-C sends it. */
  public static final Signal INT = new Signal(2);

  /** Quit from the keyboard. */
  public static final Signal QUIT = new Signal(3);

  /** What abort(3) raises. */
  public static final Signal ABRT = new Signal(6);

  /** Ends a process; it can neither be caught nor ignored. */
  public static final Signal KILL = new Signal(9);

  /** User-defined. */
  public static final Signal USR1 = new Signal(10);

  /** Invalid memory access. */
  public static final Signal SEGV = new Signal(11);

  /** User-defined. */
  public static final Signal USR2 = new Signal(12);

  /** Write to a pipe that nobody reads. */
  public static final Signal PIPE = new Signal(13);

  /** Timer of alarm(2). */
  public static final Signal ALRM = new Signal(14);

  /** Asks a process to end. */
  public static final Signal TERM = new Signal(15);

  /** Continues a stopped process. */
  public static final Signal CONT = new Signal(18);

  /** Stops a process; it can neither be caught nor ignored. */
  public static final Signal STOP = new Signal(19);

  /** The terminal's size has changed. */
  public static final Signal WINCH = new Signal(28);

  private static final Map<Integer, String> NAMES =
      Map.ofEntries(
          Map.entry(1, "HUP"),
          Map.entry(2, "INT"),
          Map.entry(3, "QUIT"),
          Map.entry(4, "ILL"),
          Map.entry(5, "TRAP"),
          Map.entry(6, "ABRT"),
          Map.entry(7, "BUS"),
          Map.entry(8, "FPE"),
          Map.entry(9, "KILL"),
          Map.entry(10, "USR1"),
          Map.entry(11, "SEGV"),
          Map.entry(12, "USR2"),
          Map.entry(13, "PIPE"),
          Map.entry(14, "ALRM"),
          Map.entry(15, "TERM"),
          Map.entry(16, "STKFLT"),
          Map.entry(17, "CHLD"),
          Map.entry(18, "CONT"),
          Map.entry(19, "STOP"),
          Map.entry(20, "TSTP"),
          Map.entry(21, "TTIN"),
          Map.entry(22, "TTOU"),
          Map.entry(23, "URG"),
          Map.entry(24, "XCPU"),
          Map.entry(25, "XFSZ"),
          Map.entry(26, "VTALRM"),
          Map.entry(27, "PROF"),
          Map.entry(28, "WINCH"),
          Map.entry(29, "IO"),
          Map.entry(30, "PWR"),
          Map.entry(31, "SYS"));

  /** What the C library leaves to programs of the 33 real-time signals (signal(7)). */
  private static final int RTMIN = 34;

  private static final int RTMAX = 64;

  private static final Pattern REAL_TIME = Pattern.compile("RTMIN(\\+\\d{1,2})?|RTMAX(-\\d{1,2})?");

  /**
   * Reads a signal as an image's StopSignal names it: {@code SIGTERM}, {@code TERM}, {@code 15} or
   * {@code SIGRTMIN+3}, in either case.
   *
   * @throws IllegalArgumentException when there is no such signal
   */
  public static Signal parse(String text) {
    return find(text)
        .orElseThrow(() -> new IllegalArgumentException("there is no signal '" + text + "'"));
  }

  public static Optional<Signal> find(String text) {
    String name = text.toUpperCase(Locale.ROOT);
    name = name.startsWith("SIG") ? name.substring(3) : name;
    int number = 0;
    if (name.matches("\\d{1,2}")) {
      number = Integer.parseInt(name);
    } else if (REAL_TIME.matcher(name).matches()) {
      int offset = name.length() > 5 ? Integer.parseInt(name.substring(5)) : 0;
      number = (name.startsWith("RTMIN") ? RTMIN : RTMAX) + offset;
      number = number < RTMIN || number > RTMAX ? 0 : number;
    } else {
      for (Map.Entry<Integer, String> known : NAMES.entrySet()) {
        number = known.getValue().equals(name) ? known.getKey() : number;
      }
    }
    return number < 1 || number > 64 ? Optional.empty() : Optional.of(new Signal(number));
  }

  /**
   * Checks the number.
   *
   * @throws IllegalArgumentException when it is not between 1 and 64
   */
  public Signal {
    if (number < 1 || number > 64) {
      throw new IllegalArgumentException("signals are numbered 1 to 64, not " + number);
    }
  }

  /** {@code "SIGTERM"}, or {@code "signal 40"} for one without a name. */
  @Override
  public String toString() {
    String name = NAMES.get(number);
    return name == null ? "signal " + number : "SIG" + name;
  }
}
