// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.io.Serializable;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** What a hypervisor's check of this host found. Immutable. */
public final class HostCheck implements Serializable {
  private static final long serialVersionUID = 1L;

  /**
   * The finding whether the processor runs a guest's kernel code itself. Where it failed, the
   * hypervisor opens all the same, but runs only code that was written for it, no Linux kernel.
   */
  public static final String RUNS_UNMODIFIED_KERNELS = "runs-unmodified-kernels";

  /** How a question was answered. */
  public enum Status {
    PASSED,
    /** Works, but something will be slower or missing; the finding says what. */
    WARNING,
    /** Virtual machines cannot run on this host. */
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

  /** Whether nothing failed, so that this host can be expected to boot Linux kernels. */
  public boolean usable() {
    return failure().isEmpty();
  }

  /** The first finding that failed. */
  public Optional<Finding> failure() {
    return findings.stream().filter(finding -> finding.status() == Status.FAILED).findFirst();
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

    private Finding(String name, Status status, String detail, @Nullable String remedy) {
      this.name = Objects.requireNonNull(name);
      this.status = status;
      this.detail = Objects.requireNonNull(detail);
      this.remedy = remedy;
    }

    /**
     * Nothing is wrong.
     *
     * @param name as {@link #name()}
     * @param detail as {@link #detail()}
     */
    public static Finding passed(String name, String detail) {
      return new Finding(name, Status.PASSED, detail, null);
    }

    /** {@link Status#WARNING}, and what to do about it. */
    public static Finding warning(String name, String detail, String remedy) {
      return new Finding(name, Status.WARNING, detail, Objects.requireNonNull(remedy));
    }

    /** {@link Status#FAILED}, and what to do about it. */
    public static Finding failed(String name, String detail, String remedy) {
      return new Finding(name, Status.FAILED, detail, Objects.requireNonNull(remedy));
    }

    /**
     * A stable identifier in kebab case, e.g. {@code "device-node"} or {@link
     * #RUNS_UNMODIFIED_KERNELS}.
     */
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

    @Override
    public String toString() {
      return name + " " + status + ": " + detail + (remedy == null ? "" : ". " + remedy);
    }
  }
}
