// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.io.Serializable;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** What a hypervisor's check of this host found. Immutable. */
public final class HostCheck implements Serializable {
  private static final long serialVersionUID = 1L;

  /**
   * What a hypervisor that can be opened may be able to run, or not. More may be added: a {@code
   * switch} has a default.
   */
  public enum Ability {
    /** Linux kernels as they are: {@link Nacelle#start}. */
    LINUX_KERNELS,
    /** Programs that run without an operating system: {@link Nacelle#startUnikernel}. */
    UNIKERNELS
  }

  /** How a question was answered. More may be added: a {@code switch} has a default. */
  public enum Status {
    PASSED,
    /** Works, but something will be slower or missing; the finding says what. */
    WARNING,
    /** Virtual machines cannot run on this host, or not with {@link Finding#ability()}. */
    FAILED
  }

  private final String hypervisor;

  @SuppressWarnings("serial") // List.copyOf's is serializable
  private final List<Finding> findings;

  private HostCheck(String hypervisor, List<Finding> findings) {
    this.hypervisor = Objects.requireNonNull(hypervisor);
    this.findings = List.copyOf(findings);
  }

  /**
   * The outcome of a check.
   *
   * @param hypervisor the provider's name
   * @param findings as {@link #findings()}
   */
  public static HostCheck of(String hypervisor, List<Finding> findings) {
    return new HostCheck(hypervisor, findings);
  }

  /** The provider's name. */
  public String hypervisor() {
    return hypervisor;
  }

  /** Every question asked, in order; after a failure the questions that depend on it are absent. */
  public List<Finding> findings() {
    return findings;
  }

  /** Whether this host can be expected to run sandboxes: {@link Ability#LINUX_KERNELS}. */
  public boolean usable() {
    return can(Ability.LINUX_KERNELS);
  }

  /** Whether nothing failed that stands in the way of that ability. */
  public boolean can(Ability ability) {
    return failure(ability).isEmpty();
  }

  /** The first finding that failed and stands in the way of that ability. */
  public Optional<Finding> failure(Ability ability) {
    return findings.stream()
        .filter(finding -> finding.status() == Status.FAILED)
        .filter(finding -> finding.ability().orElse(ability) == ability)
        .findFirst();
  }

  private List<Object> state() {
    return List.of(hypervisor, findings);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof HostCheck that && state().equals(that.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return hypervisor + ": " + findings;
  }

  /** One question and its answer. Immutable. */
  public static final class Finding implements Serializable {
    private static final long serialVersionUID = 1L;

    private final String name;
    private final Status status;
    private final String detail;
    private final @Nullable String remedy;
    private final @Nullable Ability ability;

    private Finding(
        String name,
        Status status,
        String detail,
        @Nullable String remedy,
        @Nullable Ability ability) {
      this.name = Objects.requireNonNull(name);
      this.status = status;
      this.detail = Objects.requireNonNull(detail);
      this.remedy = remedy;
      this.ability = ability;
    }

    /**
     * Nothing is wrong.
     *
     * @param name as {@link #name()}
     * @param detail as {@link #detail()}
     */
    public static Finding passed(String name, String detail) {
      return new Finding(name, Status.PASSED, detail, null, null);
    }

    /** {@link Status#WARNING}, and what to do about it. */
    public static Finding warning(String name, String detail, String remedy) {
      return new Finding(name, Status.WARNING, detail, Objects.requireNonNull(remedy), null);
    }

    /** {@link Status#FAILED}, and what to do about it. */
    public static Finding failed(String name, String detail, String remedy) {
      return new Finding(name, Status.FAILED, detail, Objects.requireNonNull(remedy), null);
    }

    /** The same finding, as one of that ability alone: where it failed, others are still there. */
    public Finding about(Ability ability) {
      return new Finding(name, status, detail, remedy, Objects.requireNonNull(ability));
    }

    /** A stable identifier in kebab case, e.g. {@code "device-node"}. */
    public String name() {
      return name;
    }

    /** How it was answered. */
    public Status status() {
      return status;
    }

    /** What was seen, for people: the path, the version, the missing capability's name. */
    public String detail() {
      return detail;
    }

    /** What to do about it, as a full sentence, where something is wrong. */
    public Optional<String> remedy() {
      return Optional.ofNullable(remedy);
    }

    /** The one ability that it is about; empty where it is about all. */
    public Optional<Ability> ability() {
      return Optional.ofNullable(ability);
    }

    private List<@Nullable Object> state() {
      return Arrays.asList(name, status, detail, remedy, ability);
    }

    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof Finding that && state().equals(that.state());
    }

    @Override
    public int hashCode() {
      return state().hashCode();
    }

    @Override
    public String toString() {
      return name + " " + status + ": " + detail + (remedy == null ? "" : ". " + remedy);
    }
  }
}
