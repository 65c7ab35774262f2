// SPDX-License-Identifier: Apache-2.0

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.Nacelle;
import dev.nacelle.NacelleException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxInfo;
import dev.nacelle.SandboxSpec;
import dev.nacelle.HostCheck;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.jar.JarFile;

/**
 * What ./smoke runs: checks the host, starts sandboxes one after the other, and prints a line "ok
 * ..." or "FAILED ..." for each. OPTION=0 loads kvm_intel again, without that; it cannot be
 * unloaded while Nacelle holds anything of it.
 *
 * <pre>
 *   Smoke --prepare CACHE IMAGE KERNEL:VCPUS...       fills CACHE, and loads all of the class path
 *   Smoke CACHE IMAGE [OPTION=0|KERNEL:VCPUS]...
 * </pre>
 */
final class Smoke {
  /** The image's shell and commands need its C library, which asks the processor what it can do. */
  private static final String COMMAND =
      "read -r line; echo \"$line from $(uname -r) on $(nproc)\"; echo trouble >&2; exit 7";

  /** For whoever reads the log: what the guest sees of the processor. */
  private static final String PROCESSOR = "grep -m3 -E '^(vendor_id|model name|flags)' /proc/cpuinfo";

  private static boolean failed;

  private Smoke() {}

  public static void main(String[] args) throws Exception {
    boolean prepareOnly = args[0].equals("--prepare");
    List<String> arguments = Arrays.asList(args).subList(prepareOnly ? 1 : 0, args.length);
    Path cache = Path.of(arguments.get(0));
    String image = arguments.get(1);
    List<String> steps = arguments.subList(2, arguments.size());
    // The lab has no apt, so that names of kernels mean there what they meant here.
    Nacelle.Builder builder =
        Nacelle.builder().cacheDirectory(cache).kernelLock(cache.resolve("kernels.lock"));
    if (prepareOnly) {
      steps.forEach(kernel -> builder.prepare(spec(image, kernel)));
      loadClassPath();
      return;
    }
    checkHost();
    for (String step : steps) {
      if (step.contains("=")) {
        reload(step);
        checkHost();
      } else {
        run(builder, spec(image, step));
      }
    }
    System.exit(failed ? 1 : 0);
  }

  private static void checkHost() {
    List<HostCheck> checks = Nacelle.checkHost();
    report(checks.stream().anyMatch(HostCheck::usable), "the host's check", checks.toString());
  }

  private static void reload(String option) throws Exception {
    String name = option.substring(0, option.indexOf('='));
    String command =
        "modprobe -r kvm_intel && modprobe kvm_intel %s && cat /sys/module/kvm_intel/parameters/%s"
            .formatted(option, name);
    Process process = new ProcessBuilder("sh", "-c", command).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    boolean passed = process.waitFor() == 0 && output.equals("N\n");
    report(passed, "kvm_intel loads again with " + option, output);
  }

  private static SandboxSpec spec(String image, String kernel) {
    int colon = kernel.lastIndexOf(':');
    return SandboxSpec.builder()
        .image(image)
        .kernel(kernel.substring(0, colon))
        .cpus(Integer.parseInt(kernel.substring(colon + 1)))
        .memory(DataSize.mebibytes(256))
        .startTimeout(Duration.ofMinutes(10))
        .build();
  }

  private static void run(Nacelle.Builder builder, SandboxSpec spec) {
    String what = "a sandbox on " + spec.kernel() + " with " + spec.cpus() + " vCPU";
    try (Nacelle nacelle = builder.build();
        Sandbox sandbox = nacelle.start(spec)) {
      SandboxInfo info = sandbox.info();
      ExecResult result =
          sandbox.exec(ProcessSpec.builder("sh", "-c", COMMAND).stdin("A line").build());
      String expected = "A line from " + info.bootedRelease() + " on " + spec.cpus() + "\n";
      boolean passed =
          info.runsBootedKernel()
              && result.exitCode() == 7
              && result.stdout().text().equals(expected)
              && result.stderr().text().equals("trouble\n");
      report(passed, what, result + "\n" + result.stdout() + result.stderr() + info);
      System.out.println(sandbox.timeline());
      System.out.print(sandbox.exec("sh", "-c", PROCESSOR).stdout());
    } catch (NacelleException e) {
      report(false, what, e.toString());
    }
  }

  private static void report(boolean passed, String what, String seen) {
    System.out.println((passed ? "ok " : "FAILED ") + what + (passed ? "" : ": " + seen));
    failed |= !passed;
  }

  /** So that an archive of the classes that were loaded spares the lab from reading any of them. */
  private static void loadClassPath() throws IOException {
    for (String path : System.getProperty("java.class.path").split(File.pathSeparator)) {
      try (JarFile jar = new JarFile(path)) {
        jar.stream()
            .map(entry -> entry.getName())
            .filter(name -> name.endsWith(".class") && !name.contains("-"))
            .forEach(name -> load(name.replace('/', '.').substring(0, name.length() - 6)));
      }
    }
  }

  private static void load(String name) {
    try {
      Class.forName(name, false, Smoke.class.getClassLoader());
    } catch (ClassNotFoundException | LinkageError e) {
      // It needs a library that Nacelle does without.
    }
  }
}
