// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import java.time.Instant;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Whose a machine is: a process, which another that comes later under its number is not taken for.
 *
 * @param process its number
 * @param startMillis when it was started, in milliseconds of Unix time; 0 where Windows does not
 *     tell
 */
record Owner(long process, long startMillis) {
  private static final Pattern FORM = Pattern.compile("nacelle-([0-9]{1,18})-([0-9]{1,18})");

  /** This process. */
  static Owner ofThisProcess() {
    return of(ProcessHandle.current());
  }

  private static Owner of(ProcessHandle process) {
    long start = process.info().startInstant().map(Instant::toEpochMilli).orElse(0L);
    return new Owner(process.pid(), start);
  }

  /** What a machine's owner says; empty for one of another program's. */
  static Optional<Owner> parse(String owner) {
    Matcher form = FORM.matcher(owner);
    return form.matches()
        ? Optional.of(new Owner(Long.parseLong(form.group(1)), Long.parseLong(form.group(2))))
        : Optional.empty();
  }

  /** Whether the process is known to have ended. */
  boolean hasEnded() {
    Optional<ProcessHandle> now = ProcessHandle.of(process).filter(ProcessHandle::isAlive);
    if (now.isEmpty()) {
      return true;
    }
    // One of another user's, of which nothing is told, may be the one.
    long start = of(now.get()).startMillis;
    return start != 0 && startMillis != 0 && start != startMillis;
  }

  @Override
  public String toString() {
    return "nacelle-" + process + "-" + startMillis;
  }
}
