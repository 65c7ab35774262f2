// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxListener;
import dev.nacelle.SandboxSpec;
import dev.nacelle.agent.FakeProgram;
import dev.nacelle.fake.FakeHypervisor;
import dev.nacelle.fake.FakeHypervisor.Fault;
import dev.nacelle.fake.FakeMachine;
import dev.nacelle.kernel.KernelRef;
import io.grpc.Status;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.TreeMap;

/** A runtime whose guests are fake, with some programs in them; checks that nothing is left. */
public final class FakeNacelle implements AutoCloseable {
  final FakeHypervisor hypervisor;
  final Nacelle nacelle;

  FakeNacelle() {
    this(Fault.NONE, new FakeSources(), event -> {});
  }

  FakeNacelle(Fault fault) {
    this(fault, new FakeSources(), event -> {});
  }

  FakeNacelle(Fault fault, Sources sources, SandboxListener listener) {
    hypervisor = new FakeHypervisor(programs(), fault);
    nacelle =
        new EngineBuilder().hypervisor(hypervisor).sources(sources).listener(listener).build();
  }

  /** With guests that may be silent for no longer than that, and then once more. */
  FakeNacelle(SandboxListener listener, Duration silence) {
    hypervisor = new FakeHypervisor(programs(), Fault.NONE);
    nacelle =
        new EngineBuilder()
            .silence(silence, silence)
            .hypervisor(hypervisor)
            .sources(new FakeSources())
            .listener(listener)
            .build();
  }

  FakeNacelle(Path scratchDirectory) {
    this(scratchDirectory, Fault.NONE);
  }

  FakeNacelle(Path scratchDirectory, Fault fault) {
    hypervisor = new FakeHypervisor(programs(), fault);
    nacelle =
        new EngineBuilder()
            .hypervisor(hypervisor)
            .sources(new FakeSources())
            .scratchDirectory(scratchDirectory)
            .build();
  }

  static SandboxSpec.Builder spec() {
    return SandboxSpec.builder()
        .image("oci:/fake")
        .kernel(KernelRef.file(Path.of("/fake/vmlinux")))
        .stopGrace(Duration.ZERO)
        .startTimeout(Duration.ofMinutes(5));
  }

  Sandbox start() {
    return nacelle.start(spec().build());
  }

  FakeMachine machine() {
    return hypervisor.machines().get(hypervisor.machines().size() - 1);
  }

  private static Map<String, FakeProgram> programs() {
    Map<String, FakeProgram> programs = new TreeMap<>();
    programs.put("true", process -> 0);
    programs.put("false", process -> 1);
    programs.put(
        "echo",
        process -> {
          process.print(
              String.join(
                      " ",
                      process
                          .spec()
                          .getArgumentsList()
                          .subList(1, process.spec().getArgumentsCount()))
                  + "\n");
          return 0;
        });
    programs.put(
        "cat",
        process -> {
          for (byte[] chunk = process.read(); chunk != null; chunk = process.read()) {
            process.write(false, chunk);
          }
          return 0;
        });
    programs.put(
        "both",
        process -> {
          process.write(false, "out".getBytes());
          process.write(true, "err".getBytes());
          return 7;
        });
    programs.put("hang", process -> process.awaitSignal());
    programs.put(
        "ends-when-killed",
        process -> {
          try {
            return process.awaitSignal();
          } catch (InterruptedException e) {
            return 5;
          }
        });
    programs.put(
        "unavailable",
        process -> {
          throw Status.UNAVAILABLE.asException();
        });
    programs.put(
        "init-ended",
        process -> {
          throw Status.ABORTED.withDescription("the workload's init was killed").asException();
        });
    programs.put(
        "flood",
        process -> {
          int megabytes = Integer.parseInt(process.spec().getArguments(1));
          for (int i = 0; i < megabytes * 16; i++) {
            process.write(false, new byte[64 * 1024]);
            process.write(true, new byte[64 * 1024]);
          }
          return 0;
        });
    programs.put(
        "print-request",
        process -> {
          process.print(process.spec().toString());
          return 0;
        });
    programs.put(
        "terminal-size",
        process -> {
          var size = process.awaitResize();
          process.print(size.getRows() + "x" + size.getColumns());
          return 0;
        });
    return programs;
  }

  @Override
  public void close() {
    nacelle.close();
    if (hypervisor.openMachines() != 0) {
      throw new AssertionError(hypervisor.openMachines() + " machines were left");
    }
  }
}
