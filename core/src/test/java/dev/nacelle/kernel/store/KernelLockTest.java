// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.KernelException;
import dev.nacelle.Stage;
import dev.nacelle.image.Digest;
import dev.nacelle.image.Digest.Algorithm;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.store.ImageStore;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.TarMaker;
import dev.nacelle.internal.OtherProcess;
import dev.nacelle.kernel.KernelLockMode;
import dev.nacelle.kernel.KernelRef;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class KernelLockTest {
  private static final Duration SOON = Duration.ofMinutes(1);

  @TempDir Path directory;
  private Path file;
  private KernelStore store;

  @BeforeEach
  void open() {
    file = directory.resolve("lock/kernels.lock.json");
    store = new KernelStore(directory.resolve("store"));
  }

  private KernelRef vmlinux(String name, String release) throws IOException {
    Path path = directory.resolve(name);
    return KernelRef.file(Files.write(path, TestElf.kernel(release).build()));
  }

  private ResolvedKernel resolve(KernelLockMode mode, KernelRef ref) {
    return new LockedKernels(new KernelLock(file, mode), store)
        .resolve(ref, SOON, PullPolicy.MISSING);
  }

  private String refusal(KernelLockMode mode, KernelRef ref) {
    KernelException e = assertThrows(KernelException.class, () -> resolve(mode, ref));
    assertEquals(Stage.KERNEL, e.stage());
    assertTrue(e.getMessage().contains(file.toString()), e.getMessage());
    assertTrue(e.remedy().isPresent(), "a remedy");
    return e.reason() + ": " + e.getMessage();
  }

  private static String inJson(Path path) {
    return path.toString().replace("\\", "\\\\");
  }

  private Set<String> besideTheFile() throws IOException {
    try (Stream<Path> files = Files.list(file.getParent())) {
      return files.map(f -> f.getFileName().toString()).collect(Collectors.toSet());
    }
  }

  @Test
  void whatNamesStoodForIsRecordedReadablyAndSorted() throws IOException {
    KernelRef second = vmlinux("b", "6.12.1");
    KernelRef first = vmlinux("a", "6.1.2");
    Digest digest = resolve(KernelLockMode.ADD, second).digest();
    resolve(KernelLockMode.ADD, first);
    resolve(KernelLockMode.ADD, first);
    String text = Files.readString(file);
    assertTrue(
        text.endsWith(
            """
                "file:%1$s": {
                  "kernel": "file:%1$s@%2$s",
                  "release": "6.12.1",
                  "architecture": "x86_64",
                  "source": "file %1$s"
                }
              }
            }
            """
                .formatted(inJson(directory.resolve("b")), digest)),
        text);
    assertTrue(text.startsWith("{\n  \"version\": 1,\n  \"kernels\": {\n    \"file:"), text);
    assertTrue(text.indexOf("6.1.2") < text.indexOf("6.12.1"), text);
    assertEquals(Set.of("kernels.lock.json", ".locks"), besideTheFile());
  }

  @Test
  void aKnownNameIsWhatItWas() throws IOException {
    LayoutMaker layout = new LayoutMaker(directory.resolve("layout"));
    layout.tag(image(layout, "6.6.1"), "stable");
    KernelRef ref = KernelRef.parse("image:oci:" + layout.directory() + ":stable");
    ResolvedKernel first = resolve(KernelLockMode.ADD, ref);

    // The tag moves on, and the old image stays there.
    LayoutMaker moved = new LayoutMaker(layout.directory());
    moved.add(image(moved, "6.6.1")).tag(image(moved, "6.6.2"), "stable");
    assertEquals("6.6.2", store.resolve(ref).version());
    assertEquals("6.6.1", resolve(KernelLockMode.ADD, ref).version());
    assertEquals("6.6.1", resolve(KernelLockMode.FROZEN, ref).version());
    assertEquals(first.digest(), resolve(KernelLockMode.FROZEN, ref).digest());

    assertEquals("6.6.2", resolve(KernelLockMode.UPDATE, ref).version());
    assertEquals("6.6.2", resolve(KernelLockMode.FROZEN, ref).version());
  }

  private static String image(LayoutMaker layout, String release) throws IOException {
    TarMaker tar = new TarMaker();
    tar.add(TarMaker.header('0', "kernel"), TestElf.kernel(release).build());
    return layout.image("linux/amd64", layout.gzipLayer(tar.finish()));
  }

  @Test
  void theDefaultIsRecordedAsWhatItStoodFor() throws IOException {
    Path built = Files.createDirectories(directory.resolve("built/6.12"));
    Files.write(built.resolve("vmlinux"), TestElf.kernel("6.12.5-nacelle").build());
    store =
        new KernelStore(
            directory.resolve("store"),
            new ImageStore(directory.resolve("images")),
            progress -> {},
            AptKernels.ofThisMachine(),
            new BundledKernels(ClassLoader.getPlatformClassLoader()),
            new BuiltKernels(directory.resolve("built")));
    KernelRef ref = KernelRef.defaultKernel();
    Digest digest = resolve(KernelLockMode.ADD, ref).digest();
    String text = Files.readString(file);
    assertTrue(text.contains("\"default\": {\n      \"kernel\": \"nacelle:6.12@" + digest), text);
    assertEquals("6.12.5-nacelle", resolve(KernelLockMode.FROZEN, ref).version());
  }

  @Test
  void whatIsNotWhatItWasIsRefused() throws IOException {
    KernelRef ref = vmlinux("vmlinux", "6.1.1");
    resolve(KernelLockMode.ADD, ref);
    vmlinux("vmlinux", "6.1.2");
    String message = refusal(KernelLockMode.ADD, ref);
    assertTrue(message.startsWith("PIN_DIFFERS: "), message);
    assertTrue(message.contains("has for " + ref + " (6.1.1, file "), message);
    assertTrue(message.contains("is not what it is pinned to"), message);
    assertTrue(message.contains("mode UPDATE"), message);
    assertFalse(message.contains("Change the pin"), message);
    assertEquals("6.1.2", resolve(KernelLockMode.UPDATE, ref).version());
    assertEquals("6.1.2", resolve(KernelLockMode.ADD, ref).version());
  }

  @Test
  void aFrozenFileTakesNoUnknownNameAndIsNotMade() throws IOException {
    KernelRef ref = vmlinux("a", "6.1");
    assertTrue(refusal(KernelLockMode.FROZEN, ref).startsWith("NOT_IN_LOCK: "));
    assertFalse(Files.exists(file.getParent()));
    resolve(KernelLockMode.ADD, ref);
    assertTrue(refusal(KernelLockMode.FROZEN, vmlinux("b", "6.2")).startsWith("NOT_IN_LOCK: "));
  }

  @DisabledOnOs(
      value = OS.WINDOWS,
      disabledReason = "there are no FIFOs in the file systems of Windows")
  @Test
  @Timeout(20)
  void aLockFileThatIsNoFileIsRefusedWithoutWaitingForIt() throws Exception {
    Files.createDirectories(file.getParent());
    assertEquals(0, new ProcessBuilder("mkfifo", file.toString()).start().waitFor());
    KernelException e =
        assertThrows(
            KernelException.class, () -> resolve(KernelLockMode.FROZEN, vmlinux("a", "6.1.2")));
    assertTrue(e.getMessage().contains("is a FIFO, a socket or a device"), e.getMessage());
  }

  @Test
  void aPinnedReferenceNeedsNoLock() throws IOException {
    KernelRef pinned = store.resolve(vmlinux("a", "6.1")).pinnedRef();
    assertEquals("6.1", resolve(KernelLockMode.FROZEN, pinned).version());
    assertEquals("6.1", resolve(KernelLockMode.ADD, pinned).version());
    assertFalse(Files.exists(file));
  }

  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "symbolic links need a privilege on Windows")
  @Test
  void aLinkToTheFileStaysOne() throws IOException {
    Path real = Files.createDirectories(directory.resolve("elsewhere")).resolve("real.json");
    resolve(KernelLockMode.ADD, vmlinux("a", "6.1"));
    Files.move(file, real);
    Files.createSymbolicLink(file, real);
    resolve(KernelLockMode.ADD, vmlinux("b", "6.2"));
    assertTrue(Files.isSymbolicLink(file));
    assertTrue(Files.readString(real).contains("6.2"));
  }

  @Test
  void aFileThatDisagreesWithItselfIsRefused() throws IOException {
    KernelRef ref = vmlinux("a", "6.1.1");
    resolve(KernelLockMode.ADD, ref);
    String text = Files.readString(file);
    Files.writeString(file, text.replace("\"6.1.1\"", "\"6.1.2\""));
    String message = refusal(KernelLockMode.ADD, ref);
    assertTrue(message.contains("disagrees with itself"), message);
    assertTrue(message.contains("is 6.1.1 for x86_64, and it says 6.1.2 for x86_64"), message);
    Files.writeString(file, text.replace("x86_64", "aarch64"));
    assertTrue(refusal(KernelLockMode.FROZEN, ref).contains("and it says 6.1.1 for aarch64"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "``                                      | it is no JSON object",
        "[]                                      | it is no JSON object",
        "{\"version\": 1, \"kernels\": {}        | line 1, column",
        "{\"version\": 1, \"kernels\": {}} x     | line 1, column",
        "<<<<<<< ours                            | line 1, column",
        "{\"kernels\": {}}                       | /version is no positive number",
        "{\"version\": \"1\", \"kernels\": {}}   | /version is no positive number",
        "{\"version\": 0, \"kernels\": {}}       | /version is no positive number",
        "{\"version\": 1}                        | /kernels is no JSON object",
        "{\"version\": 1, \"kernels\": {}, \"more\": 1} | /more is unknown",
        "{\"version\": 1, \"version\": 1, \"kernels\": {}} | uplicate",
        "{\"version\": 1, \"kernels\": {\"file:a\": 1}} | /kernels/file:a is no JSON object",
      })
  void aDamagedFileIsRefusedByWhatIsWrongWithIt(String text, String expected) throws IOException {
    Files.createDirectories(file.getParent());
    Files.writeString(file, text);
    for (KernelLockMode mode : KernelLockMode.values()) {
      String message = refusal(mode, vmlinux("a", "6.1"));
      assertTrue(message.contains("is damaged: ") && message.contains(expected), message);
    }
    assertEquals(text, Files.readString(file), "left as it was");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "file:%s                   | file:%s@sha256:0    | the pin is not sha256: and 64",
        "kernel\": \"file:%s@PIN   | kernel\": \"file:%s | /kernel has no digest",
        "kernel\": \"file:         | kernel\": \"deb:    | is another kernel than file:",
        "\"file:%s\"               | \"vmlinux\"         | it does not start with file:",
        "\"file:%s\"               | \"file:%s@PIN\"     | has a digest of its own",
        "\"file:%s\"               | \"file:%s/\"        | is not written as file:",
        "\"6.1\"                   | 6                   | /release is no string",
        "\"release\"               | \"Release\"         | /Release is unknown",
      })
  void aDamagedEntryIsRefusedByWhatIsWrongWithIt(String from, String to, String expected)
      throws IOException {
    KernelRef ref = vmlinux("a", "6.1");
    String pin = resolve(KernelLockMode.ADD, ref).digest().toString();
    String path = inJson(directory.resolve("a"));
    String text = Files.readString(file);
    String damaged =
        text.replace(
            from.replace("%s", path).replace("PIN", pin),
            to.replace("%s", path).replace("PIN", pin));
    Files.writeString(file, damaged);
    String message = refusal(KernelLockMode.ADD, ref);
    assertTrue(message.contains("is damaged: /kernels/"), message);
    assertTrue(message.contains(expected), message);
  }

  @Test
  void aNameThatIsThereTwiceIsRefused() throws IOException {
    KernelRef ref = vmlinux("a", "6.1");
    resolve(KernelLockMode.ADD, ref);
    String text = Files.readString(file);
    String entry = text.substring(text.indexOf("    \"file:"), text.lastIndexOf("  }\n}")).strip();
    Files.writeString(file, text.replace(entry, entry + ",\n" + entry));
    String message = refusal(KernelLockMode.FROZEN, ref);
    assertTrue(message.startsWith("LOCK_UNUSABLE: "), message);
    assertTrue(message.contains("uplicate") && message.contains(ref.toString()), message);
  }

  @Test
  void aFileOfANewerVersionIsRefused() throws IOException {
    Files.createDirectories(file.getParent());
    Files.writeString(file, "{\"version\": 2, \"kernels\": [\"in another way\"]}");
    String message = refusal(KernelLockMode.ADD, vmlinux("a", "6.1"));
    assertTrue(message.contains("has the version 2, and this Nacelle reads 1"), message);
    assertFalse(message.contains("damaged"), message);
  }

  @Test
  void aFileThatIsTooLargeOrNoneIsRefused() throws IOException {
    Files.createDirectories(file);
    assertTrue(
        assertThrows(
                KernelException.class, () -> resolve(KernelLockMode.ADD, KernelRef.file(directory)))
            .getMessage()
            .contains("cannot be read"));
    Files.delete(file);
    Files.writeString(file, " ".repeat((1 << 20) + 1));
    assertTrue(refusal(KernelLockMode.ADD, vmlinux("a", "6.1")).contains("it has more than"));
  }

  @Test
  void everythingThatThreadsAddIsKept() throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(8);
    try {
      List<Future<String>> versions = new ArrayList<>();
      for (int i = 0; i < 16; i++) {
        KernelRef ref = vmlinux("vmlinux-" + i, "6.1." + i);
        versions.add(threads.submit(() -> resolve(KernelLockMode.ADD, ref).version()));
      }
      for (int i = 0; i < 16; i++) {
        assertEquals("6.1." + i, versions.get(i).get());
      }
    } finally {
      threads.shutdown();
    }
    assertAllAreKept(16);
  }

  /** Adds kernels: the lock file, the store, then the kernels. */
  static final class Adder {
    private Adder() {}

    public static void main(String[] arguments) {
      LockedKernels kernels =
          new LockedKernels(
              new KernelLock(Path.of(arguments[0]), KernelLockMode.ADD),
              new KernelStore(Path.of(arguments[1])));
      for (String kernel : List.of(arguments).subList(2, arguments.length)) {
        kernels.resolve(KernelRef.parse(kernel), SOON, PullPolicy.MISSING);
      }
    }
  }

  @Test
  void everythingThatProcessesAddIsKept() throws Exception {
    List<OtherProcess> processes = new ArrayList<>();
    for (int p = 0; p < 3; p++) {
      List<Object> arguments = new ArrayList<>(List.of(file, directory.resolve("store-" + p)));
      for (int i = p; i < 24; i += 3) {
        arguments.add(vmlinux("vmlinux-" + i, "6.1." + i));
      }
      processes.add(OtherProcess.start(Adder.class, arguments.toArray()));
    }
    for (OtherProcess process : processes) {
      try (process) {
        assertEquals(0, process.waitFor());
      }
    }
    assertAllAreKept(24);
    assertEquals(Set.of("kernels.lock.json", ".locks"), besideTheFile());
  }

  private void assertAllAreKept(int number) throws IOException {
    String text = Files.readString(file, StandardCharsets.UTF_8);
    IntStream.range(0, number)
        .forEach(i -> assertTrue(text.contains("\"release\": \"6.1." + i + "\""), "6.1." + i));
  }

  @Test
  void whoeverIsFirstDecides() throws IOException {
    KernelLockFile lock = new KernelLockFile(file);
    KernelRef ref = vmlinux("a", "6.1");
    LockedKernel one =
        new LockedKernel(
            ref.withDigest(new Digest(Algorithm.SHA256, "1".repeat(64))),
            "6.1",
            "x86_64",
            "file a");
    LockedKernel two =
        new LockedKernel(
            ref.withDigest(new Digest(Algorithm.SHA256, "2".repeat(64))),
            "6.2",
            "x86_64",
            "file a");
    assertEquals(one, lock.put(ref, one, false));
    assertEquals(one, lock.put(ref, two, false));
    assertEquals(one, lock.read(true).get(ref).orElseThrow());
    assertEquals(two, lock.put(ref, two, true));
    assertEquals(two, lock.read(true).get(ref).orElseThrow());
    assertEquals(
        new String(Files.readAllBytes(file), StandardCharsets.UTF_8),
        new String(KernelLockFile.format(lock.read(true)), StandardCharsets.UTF_8));
  }
}
