// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.io.Serializable;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What a hypervisor's check of this host found.
 *
 * @param hypervisor the provider's name
 * @param findings every question asked, in order; after a failure the questions that depend on it
 *     are absent
 */
public record HostCheck(String hypervisor, List<Finding> findings) implements Serializable {

  /**
   * The finding whether the processor runs a guest's kernel code itself. Where it failed, the
   * hypervisor opens all the same, but runs only code that was written for it, no Linux kernel.
   */
  public static final String RUNS_UNMODIFIED_KERNELS = "runs-unmodified-kernels";

  /** Copies the list. */
  public HostCheck {
    findings = List.copyOf(findings);
  }

  /** Whether nothing failed, so that this host can be expected to boot Linux kernels. */
  public boolean usable() {
    return failure().isEmpty();
  }

  /** The first finding that failed. */
  public Optional<Finding> failure() {
    return findings.stream().filter(finding -> finding.status() == Status.FAILED).findFirst();
  }

  /** How a question was answered. */
  public enum Status {
    PASSED,
    /** Works, but something will be slower or missing; the finding says what. */
    WARNING,
    /** Virtual machines cannot run on this host. */
    FAILED
  }

  /**
   * One question and its answer.
   *
   * @param name a stable identifier in kebab case, e.g. {@code "device-node"} or {@link
   *     #RUNS_UNMODIFIED_KERNELS}
   * @param status how it was answered
   * @param detail what was seen, for people: the path, the version, the missing capability's name
   * @param remedy what to do about it, as a full sentence; null where nothing is wrong
   */
  public record Finding(String name, Status status, String detail, @Nullable String remedy)
      implements Serializable {}
}
