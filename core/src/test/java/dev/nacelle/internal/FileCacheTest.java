// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.internal.FileCache.Entry;
import dev.nacelle.internal.FileCache.Lease;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.List;
import java.util.OptionalLong;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

@Timeout(120)
class FileCacheTest {
  @TempDir Path directory;
  private FileCache cache;

  @BeforeEach
  void open() {
    cache = new FileCache(directory);
  }

  private static FileCache.Maker content(String text) {
    return file -> Files.writeString(file, text);
  }

  private static FileCache.Maker never() {
    return file -> {
      throw new AssertionError("it is there");
    };
  }

  private Entry only() throws IOException {
    assertEquals(1, cache.entries().size());
    return cache.entries().get(0);
  }

  /** In another process, does what its lines say: lease KEY, make KEY. */
  static final class Peer {
    private Peer() {}

    public static void main(String[] arguments) throws Exception {
      FileCache cache = new FileCache(Path.of(arguments[0]));
      if (arguments[1].equals("lease")) {
        Lease lease = cache.lease(arguments[2], content("peer's"));
        System.out.println("leased " + Files.readString(lease.file()));
        System.in.read();
        lease.close();
        System.out.println("released");
        System.in.read();
      } else {
        cache.get(
            arguments[2],
            file -> {
              Files.writeString(file, "half");
              System.out.println("making");
              try {
                System.in.read();
              } finally {
                Files.writeString(file, "peer's");
              }
            });
        System.out.println("made");
      }
    }
  }

  @Test
  void anEntryIsMadeOnce() throws IOException {
    Path file = cache.get("key", content("a"));

    assertEquals(file, cache.get("key", never()));
    assertEquals("a", Files.readString(file));
  }

  @Test
  void itsDirectoryMayHaveALongName() throws IOException {
    Path deep = directory;
    // Longer than the 260 characters that Windows takes of programs that do not ask for more.
    while (deep.toString().length() < 400) {
      deep = deep.resolve("d".repeat(40));
    }
    FileCache there = new FileCache(deep);

    assertEquals("a", Files.readString(there.get("key", content("a"))));
    assertEquals("b", Files.readString(there.replace("key", content("b"))));
    assertEquals(1, there.remove(there.entries().get(0)).orElseThrow());
  }

  @Test
  @EnabledOnOs(value = OS.WINDOWS, disabledReason = "Linux keeps no file because it is open")
  void whatSomebodyHasOpenStaysAndIsNotCountedAsRemoved() throws IOException {
    Path file = cache.get("key", content("a"));
    try (FileChannel kept = FileReplacementTest.keepOpen(file)) {
      assertEquals(OptionalLong.empty(), cache.remove(only()));
      assertFalse(cache.discard("key"));
      assertEquals(file, cache.get("key", never()));
      assertEquals(1, kept.size());
    }
    assertEquals(1, cache.remove(only()).orElseThrow());
  }

  @Test
  void whatFailedIsMadeAgain() throws IOException {
    assertThrows(
        IOException.class,
        () ->
            cache.get(
                "key",
                file -> {
                  Files.writeString(file, "half");
                  throw new IOException("no");
                }));

    assertEquals(List.of(), cache.entries());
    assertEquals("a", Files.readString(cache.get("key", content("a"))));
  }

  @Test
  void manyThreadsMakeItOnce() {
    AtomicInteger made = new AtomicInteger();
    IntStream.range(0, 64)
        .parallel()
        .forEach(
            i -> {
              try (Lease lease = cache.lease("k" + i % 4, file -> made.incrementAndGet())) {
                assertTrue(Files.exists(lease.file()));
              } catch (IOException e) {
                throw new AssertionError(e);
              }
            });
    assertEquals(4, made.get());
  }

  @Test
  void makersOfDifferentKeysDoNotWaitForEachOther() throws IOException {
    cache.get("outer", file -> cache.get("inner", content("a")));

    assertEquals(2, cache.entries().size());
  }

  @Test
  void anInterruptEndsTheWaitForAMakerAndNoLock() throws Exception {
    CountDownLatch making = new CountDownLatch(1);
    CountDownLatch go = new CountDownLatch(1);
    Lease other = cache.lease("other", content("b"));
    Thread maker =
        new Thread(
            () -> {
              try {
                cache.get(
                    "key",
                    file -> {
                      making.countDown();
                      try {
                        go.await();
                      } catch (InterruptedException e) {
                        throw new IOException(e);
                      }
                    });
              } catch (IOException e) {
                throw new AssertionError(e);
              }
            });
    maker.start();
    making.await();
    Thread.currentThread().interrupt();
    assertThrows(IOException.class, () -> cache.get("key", never()));
    assertTrue(Thread.interrupted());
    go.countDown();
    maker.join();
    try (OtherProcess peer = OtherProcess.start(Peer.class, directory, "lease", "key")) {
      peer.read();
      assertEquals(OptionalLong.empty(), cache.remove(entry("key")));
    }
    assertEquals(OptionalLong.empty(), cache.remove(entry("other")));
    other.close();
  }

  private Entry entry(String key) throws IOException {
    return cache.entries().stream().filter(e -> e.key().equals(key)).findAny().orElseThrow();
  }

  @Test
  void whatIsLeasedIsNotRemoved() throws IOException {
    Lease first = cache.lease("key", content("abc"));
    Lease second = cache.lease("key", never());
    first.close();
    first.close();

    assertEquals(OptionalLong.empty(), cache.remove(only()));
    second.close();
    assertEquals(OptionalLong.of(3), cache.remove(only()));
    assertEquals(List.of(), cache.entries());
  }

  @Test
  void whatAnotherProcessLeasesIsNotRemovedUntilItGivesItBack() throws Exception {
    try (OtherProcess peer = OtherProcess.start(Peer.class, directory, "lease", "key")) {
      assertEquals("leased peer's", peer.read());
      assertEquals(OptionalLong.empty(), cache.remove(only()));
      // Nor when this process has had a lease of its own and given it back.
      cache.lease("key", never()).close();
      assertEquals(OptionalLong.empty(), cache.remove(only()));
      peer.say("");
      assertEquals("released", peer.read());
      assertEquals(OptionalLong.of(6), cache.remove(only()));
    }
  }

  @Test
  void aLeaseEndsWithItsProcess() throws Exception {
    try (OtherProcess peer = OtherProcess.start(Peer.class, directory, "lease", "key")) {
      assertEquals("leased peer's", peer.read());
      peer.kill();
    }
    assertEquals(OptionalLong.of(6), cache.remove(only()));
  }

  @Test
  void whatAKilledMakerLeftIsNeitherBelievedNorInTheWay() throws Exception {
    try (OtherProcess peer = OtherProcess.start(Peer.class, directory, "make", "key")) {
      assertEquals("making", peer.read());
      assertEquals(0, cache.removePartials());
      peer.kill();
    }
    assertEquals(List.of(), cache.entries());
    assertEquals("a", Files.readString(cache.get("key", content("a"))));
  }

  @Test
  void whatAKilledMakerLeftIsRemoved() throws Exception {
    try (OtherProcess peer = OtherProcess.start(Peer.class, directory, "make", "key")) {
      assertEquals("making", peer.read());
      peer.kill();
    }
    assertEquals(4, cache.removePartials());
    assertEquals(List.of(".locks"), names());
  }

  @Test
  void whatCanBeResumedStaysUntilItIsRemoved() throws IOException {
    FileCache.Maker attempt =
        file -> {
          Files.writeString(file, Files.readString(file) + "x");
          if (Files.size(file) < 3) {
            throw new IOException("broken off");
          }
        };
    assertThrows(IOException.class, () -> cache.resume("key", () -> {}, attempt));
    Entry before = cache.partials().get(0);
    assertEquals(1, before.bytes());
    assertThrows(IOException.class, () -> cache.resume("key", () -> {}, attempt));
    assertEquals(OptionalLong.empty(), cache.removePartial(before), "it was written to since");
    assertEquals("xxx", Files.readString(cache.resume("key", () -> {}, attempt)));

    assertThrows(IOException.class, () -> cache.resume("other", () -> {}, attempt));
    assertEquals(1, cache.removePartials());
  }

  @Test
  void anEntryIsReplacedAlsoWhileItIsLeased() throws IOException {
    Lease lease = cache.lease("key", content("a"));

    assertEquals("b", Files.readString(cache.replace("key", content("b"))));
    assertEquals(OptionalLong.empty(), cache.remove(only()));
    lease.close();
  }

  private List<String> names() throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.map(file -> file.getFileName().toString()).toList();
    }
  }

  @Test
  void whatAnotherProcessMakesIsWaitedFor() throws Exception {
    try (OtherProcess peer = OtherProcess.start(Peer.class, directory, "make", "key")) {
      assertEquals("making", peer.read());
      Thread finish = new Thread(() -> peer.say(""));
      finish.start();
      assertEquals("peer's", Files.readString(cache.get("key", never())));
      finish.join();
      assertEquals("made", peer.read());
      assertEquals(0, peer.waitFor());
    }
  }

  @Test
  void whatWasUsedSinceIsNotRemoved() throws IOException {
    Path file = cache.get("key", content("a"));
    Files.setLastModifiedTime(file, FileTime.from(Instant.EPOCH));
    Entry old = only();
    assertEquals(Instant.EPOCH, old.lastUsed());
    cache.get("key", never());

    assertEquals(OptionalLong.empty(), cache.remove(old));
    assertTrue(only().lastUsed().isAfter(Instant.EPOCH));
    assertEquals(
        FileTime.from(Instant.EPOCH),
        Files.getLastModifiedTime(file),
        "an overlay would have to copy it up");
  }

  @Test
  void nothingIsOpenWhenNothingIsLeased() throws IOException {
    cache.lease("key", content("a")).close();

    assertFalse(OpenFiles.targets().stream().anyMatch(file -> file.startsWith(directory)));
  }

  @Test
  void keysThatAreNoFileNamesAreRefused() {
    for (String key : List.of("", ".a", "a/b", "..", "a\0", "x".repeat(201))) {
      assertThrows(IllegalArgumentException.class, () -> cache.get(key, never()), key);
    }
  }
}
