// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A container of this machine that sleeps, made by {@code crun} from an ext4 image that is mounted
 * read-only. It has namespaces of its own for processes, mounts, IPC, host name and cgroups, and no
 * seccomp filter. Needs root and cgroup v2.
 */
final class CrunContainer implements AutoCloseable {
  private static final String CONFIGURATION =
      """
      {
        "ociVersion": "1.0.2",
        "process": {
          "terminal": false, "user": {"uid": 0, "gid": 0}, "cwd": "/",
          "args": ["sleep", "infinity"],
          "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        },
        "root": {"path": "%s", "readonly": true},
        "mounts": [
          {"destination": "/proc", "type": "proc", "source": "proc"},
          {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}
        ],
        "linux": {"namespaces": [
          {"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "cgroup"}
        ]}
      }
      """;
  private static final String NAME = "nacelle-benchmark";

  private final Path root;

  /**
   * @param filesystem an ext4 image with {@code sleep}
   */
  CrunContainer(Path filesystem) throws IOException {
    Path bundle = Files.createTempDirectory("crun");
    root = Files.createDirectory(bundle.resolve("rootfs"));
    Files.writeString(bundle.resolve("config.json"), String.format(CONFIGURATION, root));
    run("mount", "-o", "loop,ro,noload", filesystem.toString(), root.toString());
    crun("run", "--detach", "--bundle", bundle.toString(), NAME);
  }

  static boolean isInstalled() throws IOException {
    return exitCode(List.of("sh", "-c", "command -v crun")) == 0;
  }

  /** Runs a program in it to its end, with nothing to read, and drops what it writes. */
  void exec(String program) throws IOException {
    crun("exec", NAME, program);
  }

  @Override
  public void close() throws IOException {
    crun("delete", "--force", NAME);
    run("umount", root.toString());
  }

  private static void crun(String... arguments) throws IOException {
    List<String> command = new ArrayList<>(List.of("crun", "--cgroup-manager=cgroupfs"));
    command.addAll(List.of(arguments));
    run(command.toArray(String[]::new));
  }

  private static void run(String... command) throws IOException {
    int code = exitCode(List.of(command));
    if (code != 0) {
      throw new IllegalStateException(String.join(" ", command) + ": exit code " + code);
    }
  }

  private static int exitCode(List<String> command) throws IOException {
    Process process =
        new ProcessBuilder(command)
            .redirectInput(Path.of("/dev/null").toFile())
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    try {
      return process.waitFor();
    } catch (InterruptedException e) {
      process.destroyForcibly();
      throw new IllegalStateException(e);
    }
  }
}
