// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * How a process ended. Immutable. All but the exit code and the signal is the guest's word:
 * bounded, but not verified.
 */
public final class ExitStatus {
  private final int exitCode;
  private final @Nullable Signal signal;
  private final boolean timedOut;
  private final boolean oomKilled;
  private final Duration userCpu;
  private final Duration systemCpu;
  private final DataSize peakMemory;
  private final boolean outputsAbandoned;
  private final boolean oomKilledElsewhere;
  private final @Nullable DataSize treePeakMemory;
  private final boolean outputTruncated;

  private ExitStatus(Builder builder) {
    exitCode = builder.exitCode;
    signal = builder.signal;
    timedOut = builder.timedOut;
    oomKilled = builder.oomKilled;
    userCpu = builder.userCpu;
    systemCpu = builder.systemCpu;
    peakMemory = builder.peakMemory;
    outputsAbandoned = builder.outputsAbandoned;
    oomKilledElsewhere = builder.oomKilledElsewhere;
    treePeakMemory = builder.treePeakMemory;
    outputTruncated = builder.outputTruncated;
  }

  /** One that returned that; nothing else is known of it. */
  public static ExitStatus of(int exitCode) {
    return builder(exitCode).build();
  }

  /** One that a signal ended, with the exit code that shells give it; nothing else is known. */
  public static ExitStatus of(Signal signal) {
    return builder(128 + signal.number()).signal(signal).build();
  }

  /** To make one, as tests of code that reads them do; of what is not set nothing is known. */
  public static Builder builder(int exitCode) {
    return new Builder(exitCode);
  }

  /** To make another that differs. */
  public Builder toBuilder() {
    Builder builder = new Builder(exitCode);
    builder.signal = signal;
    builder.timedOut = timedOut;
    builder.oomKilled = oomKilled;
    builder.userCpu = userCpu;
    builder.systemCpu = systemCpu;
    builder.peakMemory = peakMemory;
    builder.outputsAbandoned = outputsAbandoned;
    builder.oomKilledElsewhere = oomKilledElsewhere;
    builder.treePeakMemory = treePeakMemory;
    builder.outputTruncated = outputTruncated;
    return builder;
  }

  /**
   * What it returned, 0 to 255; 128 plus the signal's number, as shells say it, when a signal ended
   * it.
   */
  public int exitCode() {
    return exitCode;
  }

  /** The signal that ended it. */
  public Optional<Signal> signal() {
    return Optional.ofNullable(signal);
  }

  /** Whether it was killed because its {@linkplain ProcessSpec#timeout() time} was up. */
  public boolean timedOut() {
    return timedOut;
  }

  /** Whether the guest's kernel killed it, or one that it started, for want of memory. */
  public boolean oomKilled() {
    return oomKilled;
  }

  /** CPU time in its own code, including children it waited for. */
  public Duration userCpu() {
    return userCpu;
  }

  /** CPU time in the guest's kernel, including children it waited for. */
  public Duration systemCpu() {
    return systemCpu;
  }

  /** Its largest resident set. */
  public DataSize peakMemory() {
    return peakMemory;
  }

  /**
   * Whether others held an output of its when it was {@linkplain ProcessSpec.Builder#linger
   * listened to} no longer: what they write is lost.
   */
  public boolean outputsAbandoned() {
    return outputsAbandoned;
  }

  /**
   * Whether the guest's kernel killed another process of the sandbox for want of memory while this
   * one ran.
   */
  public boolean oomKilledElsewhere() {
    return oomKilledElsewhere;
  }

  /**
   * The most memory that it and all that it started had at a time, page cache included, where the
   * guest's kernel counts that (Linux 5.19 and newer).
   */
  public Optional<DataSize> treePeakMemory() {
    return Optional.ofNullable(treePeakMemory);
  }

  /**
   * Whether it wrote more to an output than {@link ProcessSpec#outputLimit()} allows, which the
   * host counts; with {@link OnLimit#KILL} it was killed for that.
   */
  public boolean outputTruncated() {
    return outputTruncated;
  }

  /** Whether it returned 0. */
  public boolean succeeded() {
    return exitCode == 0;
  }

  private List<@Nullable Object> state() {
    return Arrays.asList(
        exitCode,
        signal,
        timedOut,
        oomKilled,
        userCpu,
        systemCpu,
        peakMemory,
        outputsAbandoned,
        oomKilledElsewhere,
        treePeakMemory,
        outputTruncated);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof ExitStatus status && state().equals(status.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  /** One line for people. */
  @Override
  public String toString() {
    String how = signal == null ? "exit code " + exitCode : "ended by " + signal;
    return how
        + (timedOut ? ", timed out" : "")
        + (oomKilled ? ", out of memory" : "")
        + (outputsAbandoned ? ", with outputs that others still hold" : "")
        + (outputTruncated ? ", more output than its limit" : "");
  }

  /**
   * Makes an {@link ExitStatus}. Not safe for use from several threads. Null is for what is not
   * known.
   */
  public static final class Builder {
    private final int exitCode;
    private @Nullable Signal signal;
    private boolean timedOut = false;
    private boolean oomKilled = false;
    private Duration userCpu = Duration.ZERO;
    private Duration systemCpu = Duration.ZERO;
    private DataSize peakMemory = DataSize.bytes(0);
    private boolean outputsAbandoned = false;
    private boolean oomKilledElsewhere = false;
    private @Nullable DataSize treePeakMemory;
    private boolean outputTruncated = false;

    private Builder(int exitCode) {
      this.exitCode = exitCode;
    }

    /** {@link ExitStatus#signal()}. */
    public Builder signal(@Nullable Signal signal) {
      this.signal = signal;
      return this;
    }

    /** {@link ExitStatus#timedOut()}. */
    public Builder timedOut(boolean timedOut) {
      this.timedOut = timedOut;
      return this;
    }

    /** {@link ExitStatus#oomKilled()}. */
    public Builder oomKilled(boolean oomKilled) {
      this.oomKilled = oomKilled;
      return this;
    }

    /** {@link ExitStatus#userCpu()}. */
    public Builder userCpu(Duration userCpu) {
      this.userCpu = Objects.requireNonNull(userCpu);
      return this;
    }

    /** {@link ExitStatus#systemCpu()}. */
    public Builder systemCpu(Duration systemCpu) {
      this.systemCpu = Objects.requireNonNull(systemCpu);
      return this;
    }

    /** {@link ExitStatus#peakMemory()}. */
    public Builder peakMemory(DataSize peakMemory) {
      this.peakMemory = Objects.requireNonNull(peakMemory);
      return this;
    }

    /** {@link ExitStatus#outputsAbandoned()}. */
    public Builder outputsAbandoned(boolean outputsAbandoned) {
      this.outputsAbandoned = outputsAbandoned;
      return this;
    }

    /** {@link ExitStatus#oomKilledElsewhere()}. */
    public Builder oomKilledElsewhere(boolean oomKilledElsewhere) {
      this.oomKilledElsewhere = oomKilledElsewhere;
      return this;
    }

    /** {@link ExitStatus#treePeakMemory()}. */
    public Builder treePeakMemory(@Nullable DataSize treePeakMemory) {
      this.treePeakMemory = treePeakMemory;
      return this;
    }

    /** {@link ExitStatus#outputTruncated()}. */
    public Builder outputTruncated(boolean outputTruncated) {
      this.outputTruncated = outputTruncated;
      return this;
    }

    /** The status. */
    public ExitStatus build() {
      return new ExitStatus(this);
    }
  }
}
