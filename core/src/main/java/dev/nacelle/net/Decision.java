// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.net.NameRules.NameRule;
import dev.nacelle.network.DenialReason;
import java.net.InetSocketAddress;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What becomes of a flow. Either it is denied, with a reason; or it is allowed by address; or it is
 * allowed by name, and some of what it sends may have to be looked at.
 */
final class Decision {
  /** What is looked for in what a flow sends. */
  enum Check {
    /** Nothing. */
    NONE,
    /** The SNI of a ClientHello. */
    TLS,
    /** The Host of every request. */
    HTTP
  }

  /** A rule, and the pin by which it is for the address: the flow lives by that. */
  record Candidate(NameRule rule, Pins.Pin pin) {}

  private final @Nullable DenialReason reason;
  private final String rule;
  private final @Nullable InetSocketAddress service;
  private final List<Candidate> candidates;
  private final List<String> names;

  Decision(
      @Nullable DenialReason reason,
      String rule,
      @Nullable InetSocketAddress service,
      List<Candidate> candidates,
      List<String> names) {
    this.reason = reason;
    this.rule = rule;
    this.service = service;
    this.candidates = candidates;
    this.names = names;
  }

  static Decision denied(DenialReason reason, String rule, List<String> names) {
    return new Decision(reason, rule, null, List.of(), names);
  }

  static Decision byAddress(String rule) {
    return new Decision(null, rule, null, List.of(), List.of());
  }

  boolean isAllowed() {
    return reason == null;
  }

  /** Why not; null where it is allowed. */
  @Nullable DenialReason reason() {
    return reason;
  }

  /** The rule's name; empty where none has to do with it. */
  String rule() {
    return rule;
  }

  /** What is connected to in place of the address; null for the address itself. */
  @Nullable InetSocketAddress service() {
    return service;
  }

  /** What it is allowed by, where that is by name. */
  List<Candidate> candidates() {
    return candidates;
  }

  /** The names that are pinned to the address; none where it was not decided by name. */
  List<String> names() {
    return names;
  }

  /** Whether what it sends is looked at in this way; it begins with a byte 22 where it is TLS. */
  boolean checks(Check check) {
    if (!isUnchecked()) {
      for (Candidate candidate : candidates) {
        if (candidate.rule().check() == check) {
          return true;
        }
      }
    }
    return false;
  }

  /** Whether it is passed on as it comes. */
  boolean isUnchecked() {
    if (candidates.isEmpty()) {
      return true;
    }
    for (Candidate candidate : candidates) {
      if (candidate.rule().check() == Check.NONE) {
        return true;
      }
    }
    return false;
  }

  /**
   * What becomes of it now that it named whom it talks to.
   *
   * @param check where it did
   * @param said in canonical form; null where it named nobody, or what is no name
   * @param hidden whether there may be another name, which is hidden
   * @return why not; null where it is allowed
   */
  @Nullable DenialReason judge(Check check, @Nullable String said, boolean hidden) {
    boolean named = false;
    for (Candidate candidate : candidates) {
      if (candidate.rule().check() == check && candidate.pin().name().equals(said)) {
        if (!hidden || candidate.rule().mayHideName()) {
          return null;
        }
        named = true;
      }
    }
    if (named) {
      return DenialReason.HIDDEN_NAME;
    }
    return check == Check.TLS ? DenialReason.SNI_MISMATCH : DenialReason.HOST_MISMATCH;
  }

  @Override
  public String toString() {
    return (reason == null ? "ALLOWED" : reason) + " by '" + rule + "' " + names;
  }
}
