// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * No isolation: processes of the host with another root directory, on its kernel, with its
 * processes, network and devices in sight and without any limit: an image's user root is the
 * host's. Needs root.
 */
final class BareProcess implements Isolation {
  private static final List<String> OF_THE_HOST = List.of("/proc", "/dev", "/sys");

  private final Path work;
  private final Path probe;
  private final Duration patience;
  private final AtomicInteger count = new AtomicInteger();

  BareProcess(Setting setting, Path probe) {
    work = setting.work();
    patience = setting.patience();
    this.probe = probe;
  }

  @Override
  public String name() {
    return "bare";
  }

  @Override
  public String label() {
    return "bare process";
  }

  @Override
  public String version() {
    return "Linux " + System.getProperty("os.version");
  }

  @Override
  public boolean hasPartInThisProcess() {
    return false;
  }

  @Override
  public Optional<String> unavailable() {
    return Host.isRoot() ? Optional.empty() : Optional.of(Host.NEEDS_ROOT);
  }

  @Override
  public Instance start(Workload workload) throws IOException {
    User user = User.of(workload.user(), workload.root());
    InstanceRoot root =
        new InstanceRoot(workload.root(), work.resolve("bare-" + count.incrementAndGet()));
    try {
      for (String path : OF_THE_HOST) {
        root.bind(path);
      }
    } catch (IOException e) {
      try (root) {
        throw e;
      }
    }
    return new Bare(workload, root, user);
  }

  private final class Bare implements Instance {
    private final Workload workload;
    private final InstanceRoot root;
    private final User user;
    private final ConcurrentLinkedQueue<HostProcess> started = new ConcurrentLinkedQueue<>();

    private Bare(Workload workload, InstanceRoot root, User user) {
      this.workload = workload;
      this.root = root;
      this.user = user;
    }

    @Override
    public Running start(List<String> command) throws IOException {
      List<String> whole =
          new ArrayList<>(
              List.of(
                  probe.toString(),
                  "enter",
                  root.path().toString(),
                  workload.workingDirectory(),
                  String.valueOf(user.uid()),
                  String.valueOf(user.gid())));
      whole.addAll(command);
      started.removeIf(process -> !process.isAlive());
      HostProcess process = HostProcess.start(whole, workload.environment(), root::endProcesses);
      started.add(process);
      return process;
    }

    @Override
    public Duration patience() {
      return patience;
    }

    @Override
    public void put(Path program, String path) throws IOException {
      if (program.equals(probe)) {
        // As containers have what an idle one runs: a copy for each would be memory for each.
        root.bind(program, path);
      } else {
        root.put(program, path);
      }
    }

    @Override
    public Set<Long> processes() {
      return Set.of();
    }

    @Override
    public Optional<String> service() {
      return workload.service().map(Host::text);
    }

    @Override
    public void close() throws IOException {
      try (root) {
        for (HostProcess process : started) {
          process.close();
        }
      }
    }
  }
}
