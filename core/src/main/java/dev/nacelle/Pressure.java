// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * How much of the time processes waited for a resource (Linux' pressure stall information,
 * Documentation/accounting/psi.rst). Immutable.
 */
public final class Pressure {
  private final Stall some;
  private final @Nullable Stall full;

  private Pressure(Stall some, @Nullable Stall full) {
    this.some = Objects.requireNonNull(some);
    this.full = full;
  }

  /**
   * With what the getters of the same names tell.
   *
   * @param full null where it is not known
   */
  public static Pressure of(Stall some, @Nullable Stall full) {
    return new Pressure(some, full);
  }

  /** When at least one process waited. */
  public Stall some() {
    return some;
  }

  /**
   * When all that had something to do waited, so that nothing got on; where the kernel tells that.
   */
  public Optional<Stall> full() {
    return Optional.ofNullable(full);
  }

  private List<@Nullable Object> state() {
    return Arrays.asList(some, full);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof Pressure that && state().equals(that.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return "some " + some + (full == null ? "" : ", full " + full);
  }

  /** How long was waited. Immutable. */
  public static final class Stall {
    private final double percentOf10Seconds;
    private final double percentOf60Seconds;
    private final Duration total;

    private Stall(double percentOf10Seconds, double percentOf60Seconds, Duration total) {
      this.percentOf10Seconds = percentOf10Seconds;
      this.percentOf60Seconds = percentOf60Seconds;
      this.total = Objects.requireNonNull(total);
    }

    /** With what the getters of the same names tell. */
    public static Stall of(double percentOf10Seconds, double percentOf60Seconds, Duration total) {
      return new Stall(percentOf10Seconds, percentOf60Seconds, total);
    }

    /** Running average over ten seconds, 0 to 100. */
    public double percentOf10Seconds() {
      return percentOf10Seconds;
    }

    /** Running average over a minute, 0 to 100. */
    public double percentOf60Seconds() {
      return percentOf60Seconds;
    }

    /** All of it so far. */
    public Duration total() {
      return total;
    }

    private List<Object> state() {
      return List.of(percentOf10Seconds, percentOf60Seconds, total);
    }

    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof Stall that && state().equals(that.state());
    }

    @Override
    public int hashCode() {
      return state().hashCode();
    }

    @Override
    public String toString() {
      return percentOf10Seconds + " %";
    }
  }
}
