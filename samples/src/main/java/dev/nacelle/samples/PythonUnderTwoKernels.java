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
   *     oci:/path/to/layout}; after {@code --prepare}, the image and the kernels are only made
   *     ready
   */
  public static void main(String[] args) {
    boolean prepareOnly = args.length > 0 && args[0].equals("--prepare");
    String image = args[args.length - 1];
    List<SandboxSpec> specs = KERNELS.stream().map(kernel -> spec(image, kernel)).toList();
    Nacelle.Builder builder = Nacelle.builder().fetchListener(new PullProgressLine(System.err));
    if (prepareOnly) {
      specs.forEach(builder::prepare);
      return;
    }
    try (Nacelle nacelle = builder.build()) {
      for (SandboxSpec spec : specs) {
        run(nacelle, spec);
      }
    }
  }

  private static SandboxSpec spec(String image, String kernel) {
    return SandboxSpec.builder()
        .image(image)
        .kernel(kernel)
        .memory(DataSize.mebibytes(256))
        .startTimeout(Duration.ofMinutes(5))
        .build();
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
