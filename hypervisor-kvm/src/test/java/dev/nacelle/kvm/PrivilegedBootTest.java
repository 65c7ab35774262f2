// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.GuestFiles;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.container.ContainerSpec;
import dev.nacelle.container.Mount;
import dev.nacelle.files.WriteOptions;
import dev.nacelle.internal.CacheDirectory;
import dev.nacelle.kernel.store.TestKernels;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What the machine's own administrator may do in a privileged sandbox: run containers by Debian's
 * podman, load BPF programs and modules. What needs no program of another's is in {@link
 * dev.nacelle.AbstractSandboxContractTest}.
 */
@Tag("boot")
@Timeout(900)
class PrivilegedBootTest {
  /** Debian with podman and crun, which .ci/boot-tests makes. */
  private static final Path IMAGE = CacheDirectory.ofThisUser().resolve("samples/debian-podman");

  @ParameterizedTest
  @ValueSource(strings = {"nacelle:6.12", "debian:6.1"})
  void runsContainersAndLoadsWhatItLikes(String kernel) throws IOException {
    assertTrue(Files.exists(IMAGE), IMAGE + " is not there, which .ci/boot-tests makes");
    SandboxSpec spec =
        SandboxSpec.builder()
            .image("oci:" + IMAGE)
            .kernel(kernel)
            .memory(DataSize.mebibytes(384))
            .privileged()
            .container(
                ContainerSpec.PRIVILEGED.toBuilder()
                    .mount(Mount.tmpfs("/var/lib/containers", 64 << 20))
                    .build())
            .startTimeout(Duration.ofMinutes(10))
            .build();
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
        Sandbox sandbox = nacelle.start(spec)) {
      assertContainersRun(sandbox);
      assertBpfProgramsAreLoaded(sandbox);
      if (kernel.equals("debian:6.1")) {
        assertModulesAreLoaded(sandbox);
      }
    }
  }

  private static void assertContainersRun(Sandbox sandbox) {
    output(
        sandbox,
        """
        mkdir -p /box/usr/bin; ln -s usr/bin /box/bin; cp /bin/busybox /box/bin
        busybox --install -s /box/bin
        tar -C /box -c . | podman import - box""");
    // Its limits hold, and end what goes beyond them.
    assertEquals(
        "overlay / overlay\nbox\n1\n33554432\n12\n137\nno more\n",
        output(
            sandbox,
            """
            podman run --rm --network none --hostname box --memory 32m --pids-limit 12 box sh -c '
              grep -o "^overlay / overlay" /proc/mounts; hostname; echo $$; cd /sys/fs/cgroup; cat memory.max pids.max
              tail /dev/zero; echo $?
              (for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 100 & done) || echo no more
            '"""));
    // What cleans up behind a container ends after it.
    for (int i = 0; i < 600 && !sandbox.processes().isEmpty(); i++) {
      LockSupport.parkNanos(100_000_000);
    }
    assertEquals(List.of(), sandbox.processes());
  }

  private static void assertBpfProgramsAreLoaded(Sandbox sandbox) throws IOException {
    try (InputStream program = PrivilegedBootTest.class.getResourceAsStream("/hostile")) {
      byte[] bytes = Objects.requireNonNull(program, "src/test/rust is not built").readAllBytes();
      WriteOptions executable = WriteOptions.builder().permissions(0755).build();
      sandbox.files().write("/hostile", bytes, executable);
    }
    assertEquals("ALLOWED\n", output(sandbox, "/hostile bpf"));
  }

  private static void assertModulesAreLoaded(Sandbox sandbox) throws IOException {
    GuestFiles files = sandbox.files();
    files.write("/dummy.ko", TestKernels.module(TestKernels.debian61(), "dummy"));
    assertEquals(
        "dummy0\n",
        output(
            sandbox,
            "busybox insmod /dummy.ko numdummies=1; ls /sys/class/net | grep dummy; busybox rmmod dummy"));
  }

  private static String output(Sandbox sandbox, String script) {
    ProcessSpec process =
        ProcessSpec.builder("bash", "-euc", script).timeout(Duration.ofMinutes(5)).build();
    return sandbox.exec(process).orThrow().stdout().text();
  }
}
