// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

import dev.nacelle.container.ResourceLimit.Resource;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/**
 * What a process may do, after "Process" of the OCI runtime specification (config.md). Immutable.
 */
public final class ProcessSecurity {
  /** As Docker has it. */
  public static final ProcessSecurity DEFAULT = builder().build();

  /** Everything: the machine is the boundary. */
  public static final ProcessSecurity PRIVILEGED =
      builder().capabilities(Capabilities.ALL).seccomp(SeccompProfile.UNCONFINED).build();

  private static final int MAX_GROUPS = 1024;
  private static final int MAX_CPU = 1023;

  private final Capabilities capabilities;
  private final boolean noNewPrivileges;
  private final SeccompProfile seccomp;
  private final Map<Resource, ResourceLimit> limits;
  private final int oomScoreAdj;
  private final int umask;
  private final List<Long> additionalGroups;
  private final @Nullable Scheduler scheduler;
  private final @Nullable IoPriority ioPriority;
  private final @Nullable Integer personality;
  private final BitSet cpuAffinity;

  /**
   * How a process is scheduled: sched_setattr(2), sched(7).
   *
   * @param policy how
   * @param nice -20 to 19, for {@link Policy#OTHER} and {@link Policy#BATCH}
   * @param priority 1 to 99 for {@link Policy#FIFO} and {@link Policy#RR}, else 0
   * @param flags SCHED_FLAG_* of linux/sched.h
   * @param runtimeNanos of {@link Policy#DEADLINE}, else 0
   * @param deadlineNanos of {@link Policy#DEADLINE}, else 0
   * @param periodNanos of {@link Policy#DEADLINE}, else 0
   */
  public record Scheduler(
      Policy policy,
      int nice,
      int priority,
      long flags,
      long runtimeNanos,
      long deadlineNanos,
      long periodNanos) {
    /** SCHED_* of linux/sched.h. */
    public enum Policy {
      /** Shares of the time, by the nice value. */
      OTHER(0),
      /** First in, first out, in real time. */
      FIFO(1),
      /** Slices, in real time. */
      RR(2),
      /** As {@link #OTHER}, for what is never interactive. */
      BATCH(3),
      /** When nothing else is to be done. */
      IDLE(5),
      /** By deadlines, in real time. */
      DEADLINE(6);

      private final int number;

      Policy(int number) {
        this.number = number;
      }

      /** Its number in linux/sched.h. */
      public int number() {
        return number;
      }
    }

    /** Ordinary scheduling, or that of batches, with a nice value. */
    public static Scheduler nice(Policy policy, int nice) {
      return new Scheduler(policy, nice, 0, 0, 0, 0, 0);
    }
  }

  /**
   * How a process's I/O is scheduled: ioprio_set(2).
   *
   * @param kind of priority
   * @param level 0 (first) to 7
   */
  public record IoPriority(Kind kind, int level) {
    private static final int CLASS_SHIFT = 13;

    /** IOPRIO_CLASS_* of linux/ioprio.h. */
    public enum Kind {
      /** Before all others. */
      REAL_TIME(1),
      /** By its level. */
      BEST_EFFORT(2),
      /** When no other has any. */
      IDLE(3);

      private final int number;

      Kind(int number) {
        this.number = number;
      }
    }

    /**
     * @throws IllegalArgumentException when there is no such level
     */
    public IoPriority {
      if (level < 0 || level > 7) {
        throw new IllegalArgumentException("an I/O priority is 0 to 7, not " + level);
      }
    }

    /** What ioprio_set(2) takes. */
    public int value() {
      return kind.number << CLASS_SHIFT | level;
    }
  }

  private ProcessSecurity(Builder builder) {
    capabilities = builder.capabilities;
    noNewPrivileges = builder.noNewPrivileges;
    seccomp = builder.seccomp;
    limits = Collections.unmodifiableMap(new EnumMap<>(builder.limits));
    oomScoreAdj = builder.oomScoreAdj;
    umask = builder.umask;
    additionalGroups = List.copyOf(builder.additionalGroups);
    scheduler = builder.scheduler;
    ioPriority = builder.ioPriority;
    personality = builder.personality;
    cpuAffinity = (BitSet) builder.cpuAffinity.clone();
  }

  /** As Docker has it, to be changed. */
  public static Builder builder() {
    return new Builder();
  }

  /** To make another that differs. */
  public Builder toBuilder() {
    return new Builder(this);
  }

  /** Its capabilities. */
  public Capabilities capabilities() {
    return capabilities;
  }

  /** Whether execve(2) gives it no privileges. */
  public boolean noNewPrivileges() {
    return noNewPrivileges;
  }

  /** Which system calls it may make. */
  public SeccompProfile seccomp() {
    return seccomp;
  }

  /** Its limits, where they are not the usual ones. */
  public Map<Resource, ResourceLimit> limits() {
    return limits;
  }

  /** By how much the OOM killer takes it sooner, -1000 to 1000. */
  public int oomScoreAdj() {
    return oomScoreAdj;
  }

  /** Permissions that its new files do not have. */
  public int umask() {
    return umask;
  }

  /** Groups beside those of its user. */
  public List<Long> additionalGroups() {
    return additionalGroups;
  }

  /** How it is scheduled, where that is not as usual. */
  public Optional<Scheduler> scheduler() {
    return Optional.ofNullable(scheduler);
  }

  /** How its I/O is scheduled, where that is not as usual. */
  public Optional<IoPriority> ioPriority() {
    return Optional.ofNullable(ioPriority);
  }

  /** Its execution domain, where that is not the kernel's own: personality(2). */
  public OptionalInt personality() {
    return personality == null ? OptionalInt.empty() : OptionalInt.of(personality);
  }

  /** The processors that it may run on; none for all. */
  public BitSet cpuAffinity() {
    return (BitSet) cpuAffinity.clone();
  }

  private List<@Nullable Object> state() {
    return Arrays.asList(
        capabilities,
        noNewPrivileges,
        seccomp,
        limits,
        oomScoreAdj,
        umask,
        additionalGroups,
        scheduler,
        ioPriority,
        personality,
        cpuAffinity);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof ProcessSecurity security && state().equals(security.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return "capabilities " + capabilities + ", " + seccomp;
  }

  /**
   * Makes a {@link ProcessSecurity}. Not safe for use from several threads. What is optional, so
   * that its getter is an Optional, is taken back to its default by null, or by {@code removeX()}.
   */
  public static final class Builder {
    private Capabilities capabilities = Capabilities.DOCKER;
    private boolean noNewPrivileges;
    private SeccompProfile seccomp = SeccompProfile.DOCKER;
    private final Map<Resource, ResourceLimit> limits = new EnumMap<>(Resource.class);
    private int oomScoreAdj;
    private int umask = 022;
    private List<Long> additionalGroups = new ArrayList<>();
    private @Nullable Scheduler scheduler;
    private @Nullable IoPriority ioPriority;
    private @Nullable Integer personality;
    private BitSet cpuAffinity = new BitSet();

    private Builder() {}

    private Builder(ProcessSecurity security) {
      capabilities = security.capabilities;
      noNewPrivileges = security.noNewPrivileges;
      seccomp = security.seccomp;
      limits.putAll(security.limits);
      oomScoreAdj = security.oomScoreAdj;
      umask = security.umask;
      additionalGroups.addAll(security.additionalGroups);
      scheduler = security.scheduler;
      ioPriority = security.ioPriority;
      personality = security.personality;
      cpuAffinity = security.cpuAffinity();
    }

    /** Its capabilities; the default is {@link Capabilities#DOCKER}. */
    public Builder capabilities(Capabilities sets) {
      this.capabilities = Objects.requireNonNull(sets);
      return this;
    }

    /**
     * Whether execve(2) gives it no privileges that it does not have: set-user-ID bits and
     * capabilities of files mean nothing. The default is false.
     */
    public Builder noNewPrivileges(boolean none) {
      this.noNewPrivileges = none;
      return this;
    }

    /** Which system calls it may make; the default is {@link SeccompProfile#DOCKER}. */
    public Builder seccomp(SeccompProfile profile) {
      this.seccomp = Objects.requireNonNull(profile);
      return this;
    }

    /**
     * Limits a resource, or replaces its limit. By default open files have 1024 and 524288,
     * processes none, and the others what the kernel gives.
     */
    public Builder limit(Resource resource, ResourceLimit limit) {
      limits.put(Objects.requireNonNull(resource), Objects.requireNonNull(limit));
      return this;
    }

    /** Takes a limit back. */
    public Builder removeLimit(Resource resource) {
      limits.remove(resource);
      return this;
    }

    /**
     * By how much the OOM killer takes it sooner; the default is 0.
     *
     * @throws IllegalArgumentException when it is not between -1000 and 1000
     */
    public Builder oomScoreAdj(int adjustment) {
      if (adjustment < -1000 || adjustment > 1000) {
        throw new IllegalArgumentException(
            "an OOM score's adjustment is -1000 to 1000, not " + adjustment);
      }
      this.oomScoreAdj = adjustment;
      return this;
    }

    /**
     * Permissions that its new files do not have; the default is 022.
     *
     * @throws IllegalArgumentException when it is not between 0 and 0777
     */
    public Builder umask(int mask) {
      if (mask < 0 || mask > 0777) {
        throw new IllegalArgumentException("not a umask: 0" + Integer.toOctalString(mask));
      }
      this.umask = mask;
      return this;
    }

    /**
     * Groups beside those that its user brings, by number, in place of those given before.
     *
     * @throws IllegalArgumentException when one is not between 0 and 4294967294, or they are more
     *     than 1024
     */
    public Builder additionalGroups(List<Long> groups) {
      groups.forEach(Ids::check);
      if (groups.size() > MAX_GROUPS) {
        throw new IllegalArgumentException(
            "a process may have " + MAX_GROUPS + " additional groups, not " + groups.size());
      }
      additionalGroups = new ArrayList<>(groups);
      return this;
    }

    /** How it is scheduled. */
    public Builder scheduler(@Nullable Scheduler attributes) {
      this.scheduler = attributes;
      return this;
    }

    /** How its I/O is scheduled. */
    public Builder ioPriority(@Nullable IoPriority priority) {
      this.ioPriority = priority;
      return this;
    }

    /**
     * Its execution domain, with flags: personality(2).
     *
     * @param persona such as 8, PER_LINUX32, with which uname(2) says i686
     */
    public Builder personality(int persona) {
      this.personality = persona;
      return this;
    }

    /** Takes {@link #personality} back. */
    public Builder removePersonality() {
      personality = null;
      return this;
    }

    /**
     * The processors that it may run on; none for all.
     *
     * @throws IllegalArgumentException when one is beyond the 1023rd
     */
    public Builder cpuAffinity(BitSet processors) {
      if (processors.length() > MAX_CPU + 1) {
        throw new IllegalArgumentException("no processor has a number above " + MAX_CPU);
      }
      this.cpuAffinity = (BitSet) processors.clone();
      return this;
    }

    /** What was said so far. */
    public ProcessSecurity build() {
      return new ProcessSecurity(this);
    }
  }
}
