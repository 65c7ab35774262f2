// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

import java.util.List;
import java.util.Set;

/**
 * What a {@link SeccompProfile} says of some system calls.
 *
 * @param names of system calls; those that an architecture does not have are left out for it
 * @param action what becomes of them
 * @param conditions on their arguments, which all hold; where two are on the same argument, each of
 *     the conditions alone is enough, as with runc
 * @param capabilities without which in the process's bounding set there is no such rule
 * @param withoutCapabilities with one of which there is no such rule
 * @param minimumKernel release before which there is no such rule, such as {@code 4.8}; empty for
 *     none
 */
public record SeccompRule(
    List<String> names,
    SeccompAction action,
    List<Condition> conditions,
    Set<Capability> capabilities,
    Set<Capability> withoutCapabilities,
    String minimumKernel) {
  /** How an argument is compared, as unsigned numbers. */
  public enum Comparison {
    /** It is another. */
    NE,
    /** It is less. */
    LT,
    /** It is not more. */
    LE,
    /** It is the same. */
    EQ,
    /** It is not less. */
    GE,
    /** It is more. */
    GT,
    /** Its bits of {@code value} are {@code valueTwo}. */
    MASKED_EQ
  }

  /**
   * A condition on an argument.
   *
   * @param index of the argument, 0 to 5
   * @param comparison how it is compared
   * @param value with what; for {@link Comparison#MASKED_EQ} the mask
   * @param valueTwo for {@link Comparison#MASKED_EQ} what the masked argument is
   */
  public record Condition(int index, Comparison comparison, long value, long valueTwo) {
    /**
     * @throws IllegalArgumentException when there is no such argument
     */
    public Condition {
      if (index < 0 || index > 5) {
        throw new IllegalArgumentException("a system call has arguments 0 to 5, not " + index);
      }
    }
  }

  /** Copies what is given. */
  public SeccompRule {
    names = List.copyOf(names);
    conditions = List.copyOf(conditions);
    capabilities = Set.copyOf(capabilities);
    withoutCapabilities = Set.copyOf(withoutCapabilities);
    if (!minimumKernel.isEmpty() && !minimumKernel.matches("\\d{1,4}\\.\\d{1,4}")) {
      throw new IllegalArgumentException("not a kernel's series: '" + minimumKernel + "'");
    }
  }

  /** One without conditions. */
  public static SeccompRule of(SeccompAction action, List<String> names) {
    return new SeccompRule(names, action, List.of(), Set.of(), Set.of(), "");
  }

  /** The same with these conditions. */
  public SeccompRule withConditions(List<Condition> all) {
    return new SeccompRule(names, action, all, capabilities, withoutCapabilities, minimumKernel);
  }

  /** The same, only with this capability. */
  public SeccompRule only(Capability capability) {
    return new SeccompRule(
        names, action, conditions, Set.of(capability), withoutCapabilities, minimumKernel);
  }

  /** The same, only without this capability. */
  public SeccompRule unless(Capability capability) {
    return new SeccompRule(
        names, action, conditions, capabilities, Set.of(capability), minimumKernel);
  }
}
