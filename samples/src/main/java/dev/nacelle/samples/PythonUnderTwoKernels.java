// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import java.time.Duration;
import java.util.List;

/** Runs one Python program from one image, each time under another kernel. */
public final class PythonUnderTwoKernels {
  private static final List<String> KERNELS = List.of("debian:6.1", "debian:6.12");

  private static final String PROGRAM =
      """
      import os, platform
      print(f"6 * 7 = {6 * 7}, says Python {platform.python_version()} as PID {os.getpid()}")
      """;

  private PythonUnderTwoKernels() {}

  /**
   * @param args an image with Python in it, e.g. {@code python:3.12-slim} or {@code
   *     oci:/path/to/layout}
   */
  public static void main(String... args) {
    try (Nacelle nacelle = Nacelle.create()) {
      for (SandboxSpec spec : specs(args)) {
        run(nacelle, spec);
      }
    }
  }

  static List<SandboxSpec> specs(String... args) {
    SandboxSpec spec =
        SandboxSpec.builder()
            .image(args[0])
            .memory(DataSize.mebibytes(256))
            .startTimeout(Duration.ofMinutes(5))
            .build();
    return KERNELS.stream().map(kernel -> spec.toBuilder().kernel(kernel).build()).toList();
  }

  private static void run(Nacelle nacelle, SandboxSpec spec) {
    System.out.println("== " + spec.kernel());
    try (Sandbox sandbox = nacelle.start(spec)) {
      System.out.print("uname -r: " + sandbox.exec("uname", "-r").stdout());
      ExecResult result = sandbox.exec("python3", "-c", PROGRAM);
      System.out.print(result.stdout());
      System.err.print(result.stderr());
      System.out.println(sandbox.timeline());
    }
  }
}
