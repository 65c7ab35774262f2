// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.SandboxSpec;
import dev.nacelle.VmExit;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** What several places know of failures. */
final class Failures {
  /** What Linux says when it has too little memory to get to its first program. */
  private static final Pattern OUT_OF_MEMORY =
      Pattern.compile(
          "out of memory|Out of memory|System is deadlocked on memory|Initramfs unpacking failed"
              + "|rootfs image is not initramfs|Cannot allocate memory|page allocation failure"
              + "|Failed to allocate|write error");

  private static final int CONSOLE_LINES = 25;

  /** How the kernel begins what it says when it gives up, of which the reason comes first. */
  private static final Pattern PANIC =
      Pattern.compile("Kernel panic|BUG: |Oops: |general protection fault|Unable to mount root fs");

  /** Of those lines, as many from there. */
  private static final int PANIC_LINES = 10;

  /** The end of a machine whose close() failed, and which may run on. */
  static final VmExit NOT_CLOSED =
      VmExit.of(VmExit.Reason.HOST_ERROR, "the machine could not be closed");

  private Failures() {}

  /** What really happened, under what futures wrap around it. */
  static Throwable cause(Throwable failure) {
    Throwable cause = failure;
    while ((cause instanceof CompletionException || cause instanceof ExecutionException)
        && cause.getCause() != null) {
      cause = cause.getCause();
    }
    return cause;
  }

  /**
   * The last lines of a console, to be put at the end of a message; and the first ones of a panic
   * whose stack trace is longer than that.
   */
  static String lastLines(String console) {
    List<String> lines = console.stripTrailing().lines().toList();
    int from = Math.max(0, lines.size() - CONSOLE_LINES);
    int panic = 0;
    while (panic < from && !PANIC.matcher(lines.get(panic)).find()) {
      panic++;
    }
    if (panic == from) {
      return String.join("\n", lines.subList(from, lines.size())).strip();
    }
    int end = panic + PANIC_LINES;
    int rest = Math.max(end, lines.size() - (CONSOLE_LINES - PANIC_LINES));
    List<String> part = new ArrayList<>(lines.subList(panic, end));
    if (rest > end) {
      part.add("[" + (rest - end) + " lines]");
    }
    part.addAll(lines.subList(rest, lines.size()));
    return String.join("\n", part).strip();
  }

  /** What to do about a guest that died, or said nothing, before it was ready. */
  static @Nullable String bootRemedy(SandboxSpec spec, String console) {
    if (OUT_OF_MEMORY.matcher(console).find()) {
      return "Give it more memory than " + spec.memory() + ".";
    }
    if (console.isBlank()) {
      return "The kernel said nothing: see that it is a kernel for this machine's architecture, and"
          + " that "
          + spec.memory()
          + " of memory are enough for it.";
    }
    return null;
  }

  /** A console's last lines as the end of a message. */
  static String asMessagePart(String console) {
    String lines = lastLines(console);
    return lines.isEmpty()
        ? "; its console is empty"
        : "; the end of its console:\n" + lines.indent(4).stripTrailing();
  }
}
