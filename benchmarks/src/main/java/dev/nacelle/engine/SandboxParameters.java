// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.SandboxSpec;

/** What a sandbox gives its kernel, for benchmarks that start machines without one. */
public final class SandboxParameters {
  private SandboxParameters() {}

  /** Those of a sandbox of which nothing special is asked. */
  public static String usual() {
    return BootParameters.of(SandboxSpec.builder().image("any").build());
  }
}
