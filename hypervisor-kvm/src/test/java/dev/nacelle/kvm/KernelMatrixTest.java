// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpServer;
import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TestImages;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.image.testing.RegistryServer;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.store.ResolvedKernel;
import dev.nacelle.kernel.store.TestKernelImages;
import dev.nacelle.kernel.store.TestKernels;
import dev.nacelle.network.NetworkPolicy;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * One process, one image, a network, and at the same time every kind of kernel that a workload may
 * choose.
 */
@Tag("boot")
@Timeout(900)
class KernelMatrixTest {
  /**
   * Each with the output that is expected of it; KERNEL stands for the release and the build, PORT
   * for that of a service of the host's.
   */
  private static final Map<String, String> CHECKS =
      Map.of(
          "uname -rv", "KERNEL\n",
          "cat", "to the standard input\n",
          "id -un; id -gn; pwd", "app\napps\n/srv\n",
          "busybox wget -q -O - http://198.18.1.1:PORT/", "of the host's\n",
          "echo written >/tmp/file && cat /tmp/file", "written\n",
          "echo $COLOUR; exec 2>&1; cat /none",
              "blue\ncat: can't open '/none': No such file or directory\n",
          "sha256sum /etc/passwd",
              "a6265344b0b9151a24576532f21074d46f3339d75c40532f65fd0bd79f0d2cd0  /etc/passwd\n");

  /** What a reference stands for. Of two kernels of one release, only pins tell them apart. */
  private record Expected(KernelRef pinned, ResolvedKernel kernel) {}

  @Test
  void everyKernelRunsTheSameImageAtTheSameTime(@TempDir Path directory) throws Exception {
    ResolvedKernel inImage = TestKernels.debian61();
    Path layout = TestKernelImages.layout(inImage);
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
    byte[] page = "of the host's\n".getBytes(StandardCharsets.UTF_8);
    server.createContext(
        "/",
        exchange -> {
          exchange.sendResponseHeaders(200, page.length);
          exchange.getResponseBody().write(page);
          exchange.close();
        });
    server.start();
    String port = String.valueOf(server.getAddress().getPort());
    NetworkPolicy policy = NetworkPolicy.builder().hostService("web", server.getAddress()).build();
    try (RegistryServer registry = RegistryServer.open(directory.resolve("registry"))) {
      registry.push("oci:" + layout + ":latest", "linuxkit/kernel:6.1");
      Map<String, Expected> kernels = new LinkedHashMap<>();
      for (String kernel : List.of("debian:6.1", "debian:6.12", "nacelle:6.1", "nacelle:6.12")) {
        ResolvedKernel resolved = TestKernels.store().resolve(KernelRef.parse(kernel));
        kernels.put(kernel, new Expected(resolved.pinnedRef(), resolved));
      }
      String image61 = "image:" + registry.host() + "/linuxkit/kernel:6.1";
      KernelRef pinned = KernelRef.parse(image61).withDigest(manifestOf(layout));
      kernels.put(image61, new Expected(pinned, inImage));
      ImageRef image = TestImages.busybox(directory.resolve("image"));
      try (Nacelle nacelle =
          Nacelle.builder()
              .cacheDirectory(TestKernels.CACHE)
              .registries(RegistryOptions.builder().plainHttp(registry.host()).build())
              .build()) {
        List<CompletableFuture<Sandbox>> starting =
            kernels.keySet().stream()
                .map(kernel -> nacelle.startAsync(spec(image, kernel, policy)))
                .toList();
        List<Sandbox> sandboxes = starting.stream().map(CompletableFuture::join).toList();
        List<Runnable> comparisons = new ArrayList<>();
        for (Sandbox sandbox : sandboxes) {
          Expected kernel = kernels.get(sandbox.spec().kernel().toString());
          String release = kernel.kernel().version();
          assertEquals(kernel.pinned(), sandbox.info().kernel());
          assertTrue(sandbox.info().runsBootedKernel());
          assertEquals(release, sandbox.info().kernelRelease());
          CHECKS.forEach(
              (script, output) -> {
                CompletableFuture<ExecResult> result =
                    sandbox.execAsync(process(script.replace("PORT", port)));
                String expected = output.replace("KERNEL", release + " " + kernel.kernel().build());
                comparisons.add(
                    () ->
                        assertEquals(
                            expected,
                            result.join().stdout().text() + result.join().stderr().text(),
                            () -> sandbox.spec().kernel() + ": " + script));
              });
        }
        comparisons.forEach(Runnable::run);
      }
    } finally {
      server.stop(0);
    }
  }

  /** The digest of the only manifest of a layout. */
  private static Digest manifestOf(Path layout) throws IOException {
    Matcher digest =
        Pattern.compile("sha256:[0-9a-f]{64}")
            .matcher(Files.readString(layout.resolve("index.json")));
    assertTrue(digest.find());
    return Digest.parse(digest.group());
  }

  private static SandboxSpec spec(ImageRef image, String kernel, NetworkPolicy policy) {
    return SandboxSpec.builder()
        .image(image)
        .kernel(kernel)
        .memory(DataSize.mebibytes(192))
        .network(policy)
        .startTimeout(Duration.ofMinutes(10))
        .build();
  }

  private static ProcessSpec process(String script) {
    return ProcessSpec.builder("sh", "-c", script)
        .stdin("to the standard input\n".getBytes(StandardCharsets.UTF_8))
        // Of those that start at once, a busy lab takes long for the last.
        .startTimeout(Duration.ofMinutes(5))
        .build();
  }
}
