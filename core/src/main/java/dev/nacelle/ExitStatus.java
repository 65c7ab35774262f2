// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;
import java.util.Optional;

/**
 * How a process ended. All but the exit code and the signal is the guest's word: bounded, but not
 * verified.
 *
 * @param exitCode what it returned, 0 to 255; 128 plus the signal's number, as shells say it, when
 *     a signal ended it
 * @param signal the signal that ended it
 * @param timedOut whether it was killed because its {@linkplain ProcessSpec#timeout() time} was up
 * @param oomKilled whether the guest's kernel killed it, or one that it started, for want of memory
 * @param userCpu CPU time in its own code, including children it waited for
 * @param systemCpu CPU time in the guest's kernel, including children it waited for
 * @param peakMemory its largest resident set
 * @param outputsAbandoned whether others held an output of its when it was {@linkplain
 *     ProcessSpec.Builder#linger listened to} no longer: what they write is lost
 * @param oomKilledElsewhere whether the guest's kernel killed another process of the sandbox for
 *     want of memory while this one ran
 * @param treePeakMemory the most memory that it and all that it started had at a time, page cache
 *     included, where the guest's kernel counts that (Linux 5.19 and newer)
 */
public record ExitStatus(
    int exitCode,
    Optional<Signal> signal,
    boolean timedOut,
    boolean oomKilled,
    Duration userCpu,
    Duration systemCpu,
    DataSize peakMemory,
    boolean outputsAbandoned,
    boolean oomKilledElsewhere,
    Optional<DataSize> treePeakMemory) {

  /** One of which nothing else is known. */
  public static ExitStatus of(int exitCode, Optional<Signal> signal) {
    return new ExitStatus(
        exitCode,
        signal,
        false,
        false,
        Duration.ZERO,
        Duration.ZERO,
        DataSize.bytes(0),
        false,
        false,
        Optional.empty());
  }

  /** Whether it returned 0. */
  public boolean succeeded() {
    return exitCode == 0;
  }

  /** One line for people. */
  @Override
  public String toString() {
    String how = signal.map(s -> "ended by " + s).orElse("exit code " + exitCode);
    return how
        + (timedOut ? ", timed out" : "")
        + (oomKilled ? ", out of memory" : "")
        + (outputsAbandoned ? ", with outputs that others still hold" : "");
  }
}
