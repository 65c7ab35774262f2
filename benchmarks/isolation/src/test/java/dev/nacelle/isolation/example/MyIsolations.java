// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.example;

import dev.nacelle.isolation.Instance;
import dev.nacelle.isolation.Isolation;
import dev.nacelle.isolation.IsolationProvider;
import dev.nacelle.isolation.Running;
import dev.nacelle.isolation.Setting;
import dev.nacelle.isolation.Workload;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** A user's isolation: chroot(8), in the image as it is. */
public class MyIsolations implements IsolationProvider {
  /** Of what it brings. */
  public static final String NAME = "chroot";

  @Override
  public List<Isolation> isolations(Setting setting) {
    return List.of(new Chroot());
  }

  private static final class Chroot implements Isolation {
    @Override
    public String name() {
      return NAME;
    }

    @Override
    public String label() {
      return "chroot, not written to";
    }

    @Override
    public String version() {
      return "coreutils";
    }

    @Override
    public boolean isUsual() {
      return false;
    }

    @Override
    public Instance start(Workload workload) {
      return new Root(workload.root());
    }
  }

  private record Root(Path root) implements Instance {
    @Override
    public Running start(List<String> command) throws IOException {
      List<String> whole = new ArrayList<>(List.of("chroot", root.toString()));
      whole.addAll(command);
      return new Program(new ProcessBuilder(whole).redirectErrorStream(true).start());
    }

    @Override
    public void put(Path program, String path) throws IOException {
      throw new IOException(path + ": its root is not written to");
    }

    @Override
    public Set<Long> processes() {
      return Set.of();
    }

    @Override
    public void close() {}
  }

  private record Program(Process process) implements Running {
    @Override
    public InputStream stdout() {
      return process.getInputStream();
    }

    @Override
    public int waitFor() throws IOException {
      try {
        return process.waitFor();
      } catch (InterruptedException e) {
        throw new InterruptedIOException();
      }
    }

    @Override
    public String stderr() {
      return "";
    }

    @Override
    public void kill() {
      process.destroyForcibly();
    }

    @Override
    public void close() {
      process.destroyForcibly();
    }
  }
}
