// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Capabilities of a process: either one set, which root has and programs of other users can gain by
 * their files, as Docker has it; or the five sets of capabilities(7), each for itself. Those that
 * the sandbox's kernel does not have are left out. Immutable.
 */
public final class Capabilities {
  /** None. */
  public static final Capabilities NONE = of(Set.of());

  /** What Docker gives. */
  public static final Capabilities DOCKER =
      of(
          Capability.AUDIT_WRITE,
          Capability.CHOWN,
          Capability.DAC_OVERRIDE,
          Capability.FOWNER,
          Capability.FSETID,
          Capability.KILL,
          Capability.MKNOD,
          Capability.NET_BIND_SERVICE,
          Capability.NET_RAW,
          Capability.SETFCAP,
          Capability.SETGID,
          Capability.SETPCAP,
          Capability.SETUID,
          Capability.SYS_CHROOT);

  /** All that there are. */
  public static final Capabilities ALL = of(EnumSet.allOf(Capability.class));

  private final Set<Capability> bounding;
  private final Set<Capability> effective;
  private final Set<Capability> permitted;
  private final Set<Capability> inheritable;
  private final Set<Capability> ambient;
  private final boolean rootOnly;

  private Capabilities(
      Set<Capability> bounding,
      Set<Capability> effective,
      Set<Capability> permitted,
      Set<Capability> inheritable,
      Set<Capability> ambient,
      boolean rootOnly) {
    this.bounding = copy(bounding);
    this.effective = copy(effective);
    this.permitted = copy(permitted);
    this.inheritable = copy(inheritable);
    this.ambient = copy(ambient);
    this.rootOnly = rootOnly;
  }

  private static Set<Capability> copy(Set<Capability> set) {
    EnumSet<Capability> copy = EnumSet.noneOf(Capability.class);
    copy.addAll(set);
    return Collections.unmodifiableSet(copy);
  }

  /** These: root has them, another user only bounds what programs can gain by them. */
  public static Capabilities of(Set<Capability> set) {
    return new Capabilities(set, set, set, Set.of(), Set.of(), true);
  }

  /** As {@link #of(Set)}. */
  public static Capabilities of(Capability... set) {
    return of(List.of(set));
  }

  /** As {@link #of(Set)}. */
  public static Capabilities of(List<Capability> set) {
    return of(Set.copyOf(set));
  }

  /**
   * The five sets, for whatever user.
   *
   * @throws IllegalArgumentException when what is effective is not permitted, or what is ambient
   *     not permitted and inheritable: no process can have that
   */
  public static Capabilities sets(
      Set<Capability> bounding,
      Set<Capability> effective,
      Set<Capability> permitted,
      Set<Capability> inheritable,
      Set<Capability> ambient) {
    requireWithin("effective", effective, "permitted", permitted);
    requireWithin("ambient", ambient, "permitted", permitted);
    requireWithin("ambient", ambient, "inheritable", inheritable);
    requireWithin("inheritable", inheritable, "bounding", bounding);
    return new Capabilities(bounding, effective, permitted, inheritable, ambient, false);
  }

  private static void requireWithin(
      String inner, Set<Capability> set, String outer, Set<Capability> all) {
    if (!all.containsAll(set)) {
      Set<Capability> missing = EnumSet.copyOf(set);
      missing.removeAll(all);
      throw new IllegalArgumentException(
          "capabilities are " + inner + " and not " + outer + ": " + missing);
    }
  }

  /**
   * These and one more.
   *
   * @throws IllegalStateException when the five sets were given
   */
  public Capabilities plus(Capability capability) {
    EnumSet<Capability> more = one();
    more.add(capability);
    return of(more);
  }

  /**
   * These without one.
   *
   * @throws IllegalStateException when the five sets were given
   */
  public Capabilities minus(Capability capability) {
    EnumSet<Capability> less = one();
    less.remove(capability);
    return of(less);
  }

  private EnumSet<Capability> one() {
    if (!rootOnly) {
      throw new IllegalStateException("of five sets it is not clear which to change");
    }
    EnumSet<Capability> copy = EnumSet.noneOf(Capability.class);
    copy.addAll(bounding);
    return copy;
  }

  /** What execve(2) can give at most. */
  public Set<Capability> bounding() {
    return bounding;
  }

  /** What the kernel looks at. */
  public Set<Capability> effective() {
    return effective;
  }

  /** What may become effective. */
  public Set<Capability> permitted() {
    return permitted;
  }

  /** What programs with such an attribute inherit. */
  public Set<Capability> inheritable() {
    return inheritable;
  }

  /** What programs without any inherit. */
  public Set<Capability> ambient() {
    return ambient;
  }

  /** Whether only root has what is effective and permitted. */
  public boolean rootOnly() {
    return rootOnly;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof Capabilities that
        && rootOnly == that.rootOnly
        && bounding.equals(that.bounding)
        && effective.equals(that.effective)
        && permitted.equals(that.permitted)
        && inheritable.equals(that.inheritable)
        && ambient.equals(that.ambient);
  }

  @Override
  public int hashCode() {
    return Objects.hash(bounding, effective, permitted, inheritable, ambient, rootOnly);
  }

  @Override
  public String toString() {
    return rootOnly
        ? bounding.toString()
        : "bounding "
            + bounding
            + ", effective "
            + effective
            + ", permitted "
            + permitted
            + ", inheritable "
            + inheritable
            + ", ambient "
            + ambient;
  }
}
