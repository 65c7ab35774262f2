// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import dev.nacelle.HostCheck;
import dev.nacelle.HostCheck.Finding;
import java.util.ArrayList;
import java.util.List;

/**
 * What a {@linkplain HypervisorProvider#check() check} has found so far, for hypervisors that ask
 * one question after the other until one fails. Not safe for use from several threads.
 */
public final class Findings {
  private final List<Finding> all = new ArrayList<>();

  /** Nothing yet. */
  public Findings() {}

  /** Notes what was found, and returns whether that lets the next question be asked. */
  public boolean add(Finding finding) {
    all.add(finding);
    return finding.status() != HostCheck.Status.FAILED;
  }

  /** Notes {@link Finding#passed}, and returns true. */
  public boolean passed(String name, String detail) {
    return add(Finding.passed(name, detail));
  }

  /** Notes {@link Finding#failed}, and returns false. */
  public boolean failed(String name, String detail, String remedy) {
    return add(Finding.failed(name, detail, remedy));
  }

  /** The outcome so far of that hypervisor's check. */
  public HostCheck of(String hypervisor) {
    return HostCheck.of(hypervisor, all);
  }
}
