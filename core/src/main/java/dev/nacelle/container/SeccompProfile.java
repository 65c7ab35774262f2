// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Which system calls a process may make, after "Seccomp" of the OCI runtime specification
 * (config-linux.md). Of two rules that hold for a call the first counts. Immutable.
 *
 * <p>System calls that are newer than any that a profile names answer ENOSYS where its default is
 * an error: a C library that tries them then takes an older one, as with runc.
 */
public final class SeccompProfile {
  /**
   * Docker's default profile on x86-64, but that sockets of AF_VSOCK are allowed: by them a sandbox
   * is talked to.
   */
  public static final SeccompProfile DOCKER = DockerSeccomp.profile();

  /** All system calls, and no filter. */
  public static final SeccompProfile UNCONFINED =
      new SeccompProfile(
          SeccompAction.ALLOW, EnumSet.allOf(Architecture.class), Set.of(), List.of());

  /** As what system calls are made. */
  public enum Architecture {
    /** 64-bit programs. */
    X86_64,
    /** 64-bit programs with 32-bit pointers. */
    X32,
    /** 32-bit programs. */
    X86
  }

  /** What seccomp(2) is asked for beside the filter. */
  public enum Flag {
    /** All threads, of which there is one. */
    TSYNC(1),
    /** Logs what is not allowed. */
    LOG(2),
    /** Leaves speculative store bypass alone. */
    SPEC_ALLOW(4),
    /** Only fatal signals interrupt what waits for a supervisor. */
    WAIT_KILLABLE_RECV(32);

    private final int bit;

    Flag(int bit) {
      this.bit = bit;
    }

    /** Its bit in linux/seccomp.h. */
    public int bit() {
      return bit;
    }
  }

  private final SeccompAction defaultAction;
  private final Set<Architecture> architectures;
  private final Set<Flag> flags;
  private final List<SeccompRule> rules;

  private SeccompProfile(
      SeccompAction defaultAction,
      Set<Architecture> architectures,
      Set<Flag> flags,
      List<SeccompRule> rules) {
    this.defaultAction = Objects.requireNonNull(defaultAction);
    this.architectures = Set.copyOf(architectures);
    this.flags = Set.copyOf(flags);
    this.rules = List.copyOf(rules);
  }

  /**
   * A profile.
   *
   * @param defaultAction for what no rule is about
   * @param architectures as which system calls can be made, beside {@link Architecture#X86_64};
   *     others end the process
   * @param rules the first that holds counts
   */
  public static SeccompProfile of(
      SeccompAction defaultAction,
      Set<Architecture> architectures,
      Set<Flag> flags,
      List<SeccompRule> rules) {
    EnumSet<Architecture> all = EnumSet.of(Architecture.X86_64);
    all.addAll(architectures);
    return new SeccompProfile(defaultAction, all, flags, rules);
  }

  /**
   * Reads a profile: JSON as in {@code linux.seccomp} of an OCI {@code config.json}, or as {@code
   * docker run --security-opt seccomp=FILE} takes it, which has {@code archMap}, {@code includes}
   * and {@code excludes} as well.
   *
   * @throws IllegalArgumentException when it is none, or asks for what cannot be had, with the
   *     property's name
   */
  public static SeccompProfile parse(String json) {
    return SeccompJson.parse(json);
  }

  /** For what no rule is about. */
  public SeccompAction defaultAction() {
    return defaultAction;
  }

  /** As which system calls can be made. */
  public Set<Architecture> architectures() {
    return architectures;
  }

  /** What seccomp(2) is asked for beside the filter. */
  public Set<Flag> flags() {
    return flags;
  }

  /** In the order in which they count. */
  public List<SeccompRule> rules() {
    return rules;
  }

  private List<Object> state() {
    return Arrays.asList(defaultAction, architectures, flags, rules);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof SeccompProfile profile && state().equals(profile.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return "seccomp profile of "
        + rules.size()
        + " rules, else "
        + defaultAction.kind().name().toLowerCase(Locale.ROOT);
  }
}
