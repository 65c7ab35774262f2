// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpHandler;
import com.sun.net.httpserver.HttpServer;
import dev.nacelle.DataSize;
import dev.nacelle.FetchListener;
import dev.nacelle.FetchProgress;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.KernelException;
import dev.nacelle.PackageProgress;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.store.ImageStore;
import dev.nacelle.internal.ListenerFailures;
import dev.nacelle.kernel.KernelRef;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** What happens around apt, with scripts in its place; with the real one, see DebianKernelTest. */
@DisabledOnOs(value = OS.WINDOWS, disabledReason = "Windows has no apt")
class AptKernelsTest {
  private static final Duration LONG = Duration.ofMinutes(1);

  @TempDir Path directory;
  private final List<FetchProgress> progress = new CopyOnWriteArrayList<>();
  private Path aptCache;
  private Path aptGet;
  private Path lists;
  private Path oldPackage;
  private Path newPackage;

  @BeforeEach
  void offerTwoKernels() throws IOException {
    aptCache = directory.resolve("apt-cache");
    aptGet = directory.resolve("apt-get");
    lists = Files.createDirectory(directory.resolve("lists"));
    oldPackage = TestTools.kernelPackage(directory, "6.1.0-9-cloud-amd64");
    newPackage = TestTools.kernelPackage(directory, "6.1.0-56-cloud-amd64");
    script(
        aptCache,
        """
        [ "$1" = pkgnames ] && printf '%%s\\n' \
          linux-image-6.1.0-9-cloud-amd64-unsigned linux-image-6.1.0-56-cloud-amd64-unsigned \
          linux-image-6.1.0-99-cloud-amd64-dbg linux-image-6.1.0-70-cloud-amd64-unsigned \
          linux-image-6.12.9-cloud-amd64-unsigned linux-image-6.1.0-99-amd64-unsigned
        [ "$1" = show ] && cat <<END
        Package: linux-image-6.1.0-9-cloud-amd64-unsigned
        Version: 6.1.20-1
        Description: an older one
         SHA256: not a field
        SHA256: %s

        Package: linux-image-6.1.0-56-cloud-amd64-unsigned
        Version: 6.1.192-2
        SHA256: %s

        Package: linux-image-6.1.0-70-cloud-amd64-unsigned
        Status: install ok installed
        Version: 6.1.300-1
        END
        true
        """
            .formatted(Sha256.hex(oldPackage), Sha256.hex(newPackage)));
    script(
        aptGet,
        """
        for last; do :; done
        case "$last" in
          linux-image-6.1.0-9-cloud-amd64-unsigned=6.1.20-1) cp '%s' old.deb ;;
          linux-image-6.1.0-56-cloud-amd64-unsigned=6.1.192-2) cp '%s' new.deb ;;
          *) echo "E: unexpected: $*"; exit 100 ;;
        esac
        """
            .formatted(oldPackage, newPackage));
  }

  private static void script(Path path, String text) throws IOException {
    Files.deleteIfExists(path);
    Files.writeString(path, "#!/bin/sh\n" + text);
    Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("rwx------"));
  }

  private KernelStore store() {
    return store(progress::add);
  }

  private KernelStore store(FetchListener listener) {
    return new KernelStore(
        directory.resolve("store"),
        new ImageStore(directory.resolve("images")),
        listener,
        new AptKernels(aptCache, aptGet, List.of(lists)),
        new BundledKernels(ClassLoader.getPlatformClassLoader()),
        new BuiltKernels(directory.resolve("built")));
  }

  private String refusal(String ref, Duration deadline) {
    KernelException e =
        assertThrows(
            KernelException.class,
            () -> store().resolve(KernelRef.parse(ref), deadline, PullPolicy.MISSING));
    return e.reason() + ": " + e.getMessage();
  }

  private static String pin(Path deb) throws IOException {
    return "@sha256:" + Sha256.hex(deb);
  }

  @Test
  void theNewestThatCanBeFetchedIsTaken() throws IOException {
    ResolvedKernel kernel = store().resolve(KernelRef.parse("debian:6.1"));
    assertEquals("6.1.0-56-cloud-amd64", kernel.version());
    assertEquals(Sha256.hex(newPackage), kernel.digest().hex());
    assertEquals("debian:6.1" + pin(newPackage), kernel.pinnedRef().toString());
  }

  @Test
  void aSeriesMayBeAsLongAsAPackagesName() throws IOException {
    script(
        aptCache,
        """
        [ "$1" = pkgnames ] && echo linux-image-6.12.117+deb12-cloud-amd64-unsigned
        [ "$1" = show ] && cat <<END
        Package: linux-image-6.12.117+deb12-cloud-amd64-unsigned
        Version: 6.12.117-1~deb12u1
        SHA256: %s
        END
        true
        """
            .formatted(Sha256.hex(newPackage)));
    script(aptGet, "cp '" + newPackage + "' new.deb");
    // The package in its place is of another series, which is seen once it is unpacked.
    String message = refusal("debian:6.12.117+deb12", LONG);
    assertTrue(message.contains("that package is 6.1.0-56-cloud-amd64"), message);
  }

  @Test
  void aPinFindsAnOlderPackage() throws IOException {
    ResolvedKernel kernel = store().resolve(KernelRef.parse("debian:6.1" + pin(oldPackage)));
    assertEquals("6.1.0-9-cloud-amd64", kernel.version());
  }

  @Test
  void aPinThatNothingMatchesIsRefusedWithWhatThereIs() throws IOException {
    String message = refusal("debian:6.1@sha256:" + "0".repeat(64), LONG);
    assertTrue(message.contains("apt offers no package with that digest"), message);
    assertTrue(message.contains(Sha256.hex(newPackage)), message);
  }

  @Test
  void onceItIsThereAptIsNotAskedAgain() throws IOException {
    store().resolve(KernelRef.parse("debian:6.1"));
    Files.delete(aptCache);
    Files.delete(aptGet);
    assertEquals("6.1.0-56-cloud-amd64", store().resolve(KernelRef.parse("debian:6.1")).version());
    KernelRef pinned = KernelRef.parse("debian:6.1" + pin(newPackage));
    assertEquals("6.1.0-56-cloud-amd64", store().resolve(pinned).version());
  }

  @Test
  void afterAnUpdateOfItsListsAptIsAskedAgain() throws IOException {
    store().resolve(KernelRef.parse("debian:6.1"));
    script(aptCache, "exit 0");
    Files.setLastModifiedTime(lists, FileTime.fromMillis(1));
    assertTrue(refusal("debian:6.1", LONG).startsWith("NOT_FOUND: "));
  }

  @Test
  void aPinToAPackageOfAnotherSeriesIsRefused() throws IOException {
    store().resolve(KernelRef.parse("debian:6.1"));
    for (String series : List.of("6.2", "6.1.0-5", "5.6")) {
      String message = refusal("debian:" + series + pin(newPackage), LONG);
      assertTrue(message.startsWith("PIN_DIFFERS: "), message);
      assertTrue(message.contains("another series: that package is 6.1.0-56"), message);
    }
  }

  @Test
  void aSeriesThatIsNotOfferedIsNamed() {
    String message = refusal("debian:6.99", LONG);
    assertTrue(message.contains("offers no linux-image-6.99*-cloud-amd64-unsigned"), message);
    assertTrue(message.contains("apt-get update"), message);
  }

  @Test
  void aMachineWithoutAptIsTold() throws IOException {
    Files.delete(aptCache);
    String message = refusal("debian:6.1", LONG);
    assertTrue(message.startsWith("HOST_LACKS_TOOL: "), message);
    assertTrue(message.contains("there is no apt on this machine"), message);
    assertTrue(message.contains("Use the default kernel"), message);
    assertTrue(message.contains("deb:PATH"), message);
  }

  @Test
  void withoutAptThePinOfWhatIsInTheCacheIsNamedAndWorks() throws IOException {
    store().resolve(KernelRef.parse("debian:6.1" + pin(oldPackage)));
    KernelRef newest = store().resolve(KernelRef.parse("debian:6.1")).pinnedRef();
    // Otherwise apt's answer is remembered, too.
    Files.setLastModifiedTime(lists, FileTime.fromMillis(0));
    Files.delete(aptCache);
    String message = refusal("debian:6.1", LONG);
    assertTrue(message.contains("there is no apt on this machine"), message);
    assertTrue(message.contains("Ask for " + newest + ", which is in the cache"), message);
    assertEquals("6.1.0-56-cloud-amd64", store().resolve(newest).version());

    message = refusal("debian:6.12", LONG);
    assertFalse(message.contains("in the cache"), message);
  }

  @Test
  void whatAptSaysWithoutNetworkIsPassedOn() throws IOException {
    script(aptGet, "echo 'E: Temporary failure resolving deb.debian.org'; exit 100");
    String message = refusal("debian:6.1", LONG);
    assertTrue(message.startsWith("NETWORK: "), message);
    assertTrue(message.contains("failed (exit code 100): E: Temporary failure"), message);
    assertNothingIsLeft();
  }

  @Test
  void aDownloadThatDoesNotEndIsKilledWithItsChildren() throws Exception {
    Path pid = directory.resolve("pid");
    script(aptGet, "sleep 1000 &\necho $! >'" + pid + "'\nwait");
    AptKernels apt = new AptKernels(aptCache, aptGet, List.of(lists));
    AptKernels.Candidate candidate = apt.offered("6.1", LONG).get(0);
    Path packages = Files.createDirectories(directory.resolve("store/packages"));
    Path target = packages.resolve("target");
    KernelException e;
    do {
      // However slow the machine: until the script came as far as to start its child.
      e =
          assertThrows(
              KernelException.class,
              () ->
                  apt.download(
                      candidate, target, Duration.ofMillis(100), (state, done, all) -> {}));
    } while (!Files.exists(pid) || Files.size(pid) == 0);
    assertTrue(e.getMessage().contains("did not end in time"), e.getMessage());
    Optional<ProcessHandle> child = ProcessHandle.of(Long.parseLong(Files.readString(pid).strip()));
    if (child.isPresent()) {
      child.get().onExit().get();
    }
    assertNothingIsLeft();
  }

  @Test
  void whatAKilledDownloadLeftIsRemoved() throws IOException {
    Path left =
        Files.createDirectories(
            directory.resolve(
                "store/packages/." + Sha256.hex(newPackage) + ".deb.partial.apt/partial"));
    Files.writeString(left.resolveSibling("left.deb"), "half of it");
    assertEquals("6.1.0-56-cloud-amd64", store().resolve(KernelRef.parse("debian:6.1")).version());
    assertFalse(Files.exists(left.getParent()));
  }

  /** A mirror, which apt-get names; and an apt-get that cannot download itself. */
  private HttpServer mirror(HttpHandler handler) throws IOException {
    HttpServer server = HttpServer.create(new InetSocketAddress("localhost", 0), 0);
    server.createContext("/", handler);
    server.start();
    script(
        aptGet,
        """
        case "$*" in
          *--print-uris*) echo "'http://localhost:%d/pool/new%%2b1.deb' new.deb %d SHA256:%s" ;;
          *) echo "E: not by apt"; exit 100 ;;
        esac
        """
            .formatted(
                server.getAddress().getPort(), Files.size(newPackage), Sha256.hex(newPackage)));
    return server;
  }

  @Test
  void aDownloadThatIsCutGoesOnWhereItWasCutAlsoInTheNextProcess() throws IOException {
    byte[] all = Files.readAllBytes(newPackage);
    int half = all.length / 2;
    List<String> ranges = new CopyOnWriteArrayList<>();
    AtomicBoolean isUp = new AtomicBoolean();
    HttpServer server =
        mirror(
            exchange -> {
              String range = exchange.getRequestHeaders().getFirst("Range");
              ranges.add(String.valueOf(range));
              if (range == null) {
                exchange.sendResponseHeaders(200, all.length);
                exchange.getResponseBody().write(all, 0, half);
                exchange.getResponseBody().flush();
              } else if (isUp.get()) {
                exchange
                    .getResponseHeaders()
                    .set(
                        "Content-Range",
                        "bytes " + half + "-" + (all.length - 1) + "/" + all.length);
                exchange.sendResponseHeaders(206, all.length - half);
                exchange.getResponseBody().write(all, half, all.length - half);
              } else {
                exchange.sendResponseHeaders(503, -1);
              }
              exchange.close();
            });
    try {
      String message = refusal("debian:6.1", LONG);
      assertTrue(message.startsWith("NETWORK: "), message);
      assertTrue(message.contains("goes on from where this ended"), message);
      assertEquals("null", ranges.get(0));
      assertEquals(Set.of("bytes=" + half + "-"), Set.copyOf(ranges.subList(1, ranges.size())));

      ranges.clear();
      isUp.set(true);
      assertEquals(
          "6.1.0-56-cloud-amd64", store().resolve(KernelRef.parse("debian:6.1")).version());
      assertEquals(List.of("bytes=" + half + "-"), ranges);
      PackageProgress last = (PackageProgress) progress.get(progress.size() - 1);
      assertEquals(KernelRef.debian("6.1"), last.kernel());
      assertEquals("linux-image-6.1.0-56-cloud-amd64-unsigned", last.name());
      assertEquals(Sha256.hex(newPackage), last.digest().hex());
      assertEquals(FetchProgress.State.DONE, last.state());
      assertEquals(DataSize.bytes(all.length), last.done());
      assertEquals(Optional.of(DataSize.bytes(all.length)), last.total());
      assertEquals(last.name() + ": DONE, " + last.done() + " of " + last.done(), last.toString());
      List<FetchProgress.State> states =
          progress.stream().map(FetchProgress::state).distinct().toList();
      assertEquals(
          List.of(
              FetchProgress.State.RETRYING,
              FetchProgress.State.RESUMED,
              FetchProgress.State.DOWNLOADING,
              FetchProgress.State.DONE),
          states);
      assertEquals(DataSize.bytes(half), progress.get(0).done());
    } finally {
      server.stop(0);
    }
  }

  @Test
  void whatAListenerThrowsIsLoggedOnceAndTheDownloadGoesOn() {
    AtomicInteger calls = new AtomicInteger();
    FetchListener failing =
        told -> {
          throw new IllegalStateException("call " + calls.incrementAndGet());
        };
    try (ListenerFailures failures = new ListenerFailures()) {
      assertEquals(
          "6.1.0-56-cloud-amd64", store(failing).resolve(KernelRef.parse("debian:6.1")).version());
      assertEquals(2, calls.get(), "when it begins and when it is there");
      assertEquals(List.of("call 1"), failures.messages());
    }
  }

  @Test
  void whereTheMirrorGivesNothingAptIsAsked() throws IOException {
    HttpServer server =
        mirror(
            exchange -> {
              exchange.sendResponseHeaders(407, -1);
              exchange.close();
            });
    try {
      assertTrue(refusal("debian:6.1", LONG).contains("E: not by apt"));
      assertNothingIsLeft();
    } finally {
      server.stop(0);
    }
    assertTrue(refusal("debian:6.1", LONG).contains("E: not by apt"), "nobody listens");
    assertNothingIsLeft();
  }

  @Test
  void wrongBytesOfAMirrorAreNotKept() throws IOException {
    byte[] wrong = new byte[(int) Files.size(newPackage)];
    HttpServer server =
        mirror(
            exchange -> {
              exchange.sendResponseHeaders(200, wrong.length);
              exchange.getResponseBody().write(wrong);
              exchange.close();
            });
    try {
      assertTrue(refusal("debian:6.1", LONG).contains("E: not by apt"));
      assertNothingIsLeft();
    } finally {
      server.stop(0);
    }
  }

  @Test
  void aPackageThatIsNotWhatTheListsSayIsRefused() throws IOException {
    script(aptGet, "cp '" + oldPackage + "' x.deb");
    String message = refusal("debian:6.1", LONG);
    assertTrue(message.startsWith("DAMAGED: "), message);
    assertTrue(message.contains("has the digest " + Sha256.hex(oldPackage)), message);
    assertNothingIsLeft();
  }

  @Test
  void anInterruptEndsTheDownload() throws IOException {
    script(aptGet, "sleep 1000");
    Thread.currentThread().interrupt();
    assertThrows(
        InterruptedOperationException.class, () -> store().resolve(KernelRef.parse("debian:6.1")));
    assertTrue(Thread.interrupted());
  }

  @Test
  void versionsAreComparedByTheirNumbers() {
    List<String> ascending =
        List.of("6.1.0~rc1", "6.1.0", "6.1.0-9", "6.1.0-56", "6.9", "6.12.7", "6.12.57+deb13");
    assertEquals(ascending, ascending.stream().sorted(AptKernels::compareVersions).toList());
    for (String a : ascending) {
      for (String b : ascending) {
        assertEquals(
            Integer.compare(ascending.indexOf(a), ascending.indexOf(b)),
            Integer.signum(AptKernels.compareVersions(a, b)),
            a + " " + b);
      }
    }
  }

  private void assertNothingIsLeft() throws IOException {
    try (Stream<Path> files = Files.walk(directory.resolve("store/packages"))) {
      assertEquals(
          List.of(),
          files.filter(Files::isRegularFile).filter(file -> !file.endsWith(".locks")).toList());
    }
    assertFalse(Files.exists(directory.resolve("store/packages/target")));
  }
}
