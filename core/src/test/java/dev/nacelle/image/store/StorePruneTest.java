// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.ImageException;
import dev.nacelle.PrunePolicy;
import dev.nacelle.PruneResult;
import dev.nacelle.PruneResult.Kind;
import dev.nacelle.PruneResult.Removed;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.Platform;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.oci.Descriptor;
import dev.nacelle.image.oci.Digests;
import dev.nacelle.image.oci.OciJson;
import dev.nacelle.image.origin.BlobStore;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.LayoutMaker.Layer;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.TarMaker;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.internal.DirectoryLocks;
import dev.nacelle.internal.FileCache;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** What goes from a store, and what stays. */
@Timeout(300)
class StorePruneTest {
  private static final int TAGS = 3;

  @TempDir Path temp;
  private LayoutMaker layout;
  private Path directory;
  private ImageStore store;

  @BeforeEach
  void makeStore() throws IOException {
    layout = new LayoutMaker(temp.resolve("layout"));
    for (int i = 0; i < TAGS; i++) {
      byte[] noise = new byte[3_000_000];
      new Random(i).nextBytes(noise);
      TarMaker tar = new TarMaker().add(TarMaker.header('0', "noise").size(noise.length), noise);
      layout.tag(layout.image("linux/amd64", layout.gzipLayer(tar.finish())), "t" + i);
    }
    directory = temp.resolve("store");
    store = new ImageStore(directory);
  }

  private ImageRef ref(int tag) {
    return ImageRef.parse("oci:" + layout.directory() + ":t" + tag);
  }

  private ImageLease lease(int tag) {
    return store.lease(ref(tag), Platform.LINUX_AMD64, PullPolicy.MISSING);
  }

  /** Makes it as if the image was last used that long ago. */
  private static void age(ResolvedImage image, Duration time) throws IOException {
    Path file = image.filesystem();
    Path mark = file.resolveSibling("." + file.getFileName() + ".used");
    FileTime then = FileTime.from(Instant.now().minus(time));
    Files.setLastModifiedTime(file, then);
    if (Files.exists(mark)) {
      Files.setLastModifiedTime(mark, then);
    }
  }

  private static Set<String> names(PruneResult result) {
    return result.removed().stream().map(Removed::name).collect(Collectors.toSet());
  }

  private static String name(ResolvedImage image) {
    return image.filesystem().getFileName().toString();
  }

  private List<String> files() throws IOException {
    try (Stream<Path> files = Files.walk(directory)) {
      return files
          .filter(Files::isRegularFile)
          .map(file -> file.getFileName().toString())
          .filter(name -> !name.equals(".locks"))
          .toList();
    }
  }

  @Test
  void whatWasNotUsedForLongGoes() throws IOException {
    ResolvedImage old = store.resolve(ref(0));
    age(old, Duration.ofDays(8));
    ResolvedImage used = store.resolve(ref(1));
    age(used, Duration.ofDays(8));
    store.resolve(ref(1));
    ResolvedImage young = store.resolve(ref(2));
    age(young, Duration.ofDays(6));
    long size = Files.size(old.filesystem());

    PruneResult result = store.prune(PrunePolicy.unusedFor(Duration.ofDays(7)));

    assertEquals(
        List.of(Removed.of(Kind.FILESYSTEM, name(old), DataSize.bytes(size))), result.removed());
    assertEquals(DataSize.bytes(size), result.freed());
    long left = Files.size(used.filesystem()) + Files.size(young.filesystem());
    assertEquals(DataSize.bytes(left), result.left());
    assertTrue(Files.exists(store.resolve(ref(0)).filesystem()));
  }

  @Test
  void whatThereIsTooMuchOfGoesTheLeastRecentlyUsedFirst() throws IOException {
    List<ResolvedImage> images = new ArrayList<>();
    for (int i = 0; i < TAGS; i++) {
      images.add(store.resolve(ref(i)));
    }
    age(images.get(0), Duration.ofDays(2));
    age(images.get(1), Duration.ofDays(3));
    age(images.get(2), Duration.ofDays(1));
    long size = Files.size(images.get(0).filesystem());

    assertEquals(
        Set.of(name(images.get(1))),
        names(store.prune(PrunePolicy.downTo(DataSize.bytes(3 * size - 1)))));
    assertEquals(Set.of(), names(store.prune(PrunePolicy.downTo(DataSize.bytes(2 * size)))));
    PruneResult rest =
        store.prune(PrunePolicy.unusedFor(Duration.ofDays(30)).andDownTo(DataSize.bytes(size)));
    assertEquals(Set.of(name(images.get(0))), names(rest));
    assertEquals(DataSize.bytes(size), rest.left());
  }

  @Test
  void whatIsInUseStays() throws IOException {
    try (ImageLease lease = lease(0)) {
      assertEquals(List.of(), store.prune(PrunePolicy.everything()).removed());
      PruneResult tooMuch = store.prune(PrunePolicy.downTo(DataSize.bytes(0)));
      assertEquals(List.of(), tooMuch.removed());
      assertEquals(Files.size(lease.image().filesystem()), tooMuch.left().bytes());
    }
    assertEquals(1, store.prune(PrunePolicy.everything()).removed().size());
    assertEquals(List.of(), files());
  }

  /** Blobs and the name of an image as a pull leaves them. */
  private ImageRef pulled(BlobStore blobs) throws IOException {
    Layer layer = layout.gzipLayer(new TarMaker().file("a", "1").finish());
    String manifest = layout.image("linux/amd64", layer);
    try (Stream<Path> files = Files.list(layout.directory().resolve("blobs/sha256"))) {
      for (Path file : files.toList()) {
        Digest digest = Digest.parse("sha256:" + file.getFileName());
        blobs.put(digest, Files.readAllBytes(file));
      }
    }
    ImageRef ref = ImageRef.parse("registry.invalid/app:1");
    byte[] json = manifest.getBytes(StandardCharsets.UTF_8);
    blobs.remember(ref, Descriptor.parse(OciJson.parse(json, "descriptor")));
    return ref;
  }

  @Test
  void anImageThatWasPulledNeedsNoNetworkUntilItsBlobsGo() throws IOException {
    BlobStore blobs = new BlobStore(directory);
    ImageRef ref = pulled(blobs);
    for (PullPolicy policy : List.of(PullPolicy.MISSING, PullPolicy.NEVER)) {
      store.lease(ref, Platform.LINUX_AMD64, policy).close();
    }

    PruneResult result = store.prune(PrunePolicy.everything());

    Map<Kind, Long> kinds =
        result.removed().stream()
            .collect(Collectors.groupingBy(Removed::kind, Collectors.counting()));
    assertEquals(1, kinds.get(Kind.NAME));
    assertEquals(1, kinds.get(Kind.FILESYSTEM));
    assertTrue(kinds.get(Kind.BLOB) >= 3, kinds::toString);
    assertEquals(List.of(), files());
    ImageException gone =
        assertThrows(
            ImageException.class, () -> store.lease(ref, Platform.LINUX_AMD64, PullPolicy.NEVER));
    assertTrue(gone.getMessage().contains("registry.invalid/app:1 is not in the store"));
    assertEquals(ImageException.Reason.NOT_PULLED, gone.reason());
    assertTrue(gone.remedy().orElse("").contains("prepare"), gone::getMessage);
  }

  @Test
  void noBlobGoesWhileAnImageIsLookedUp() throws IOException {
    BlobStore blobs = new BlobStore(directory);
    pulled(blobs);
    int before = files().size();
    try (DirectoryLocks.Held inUse = blobs.use()) {
      assertTrue(inUse != null);
      PruneResult result = store.prune(PrunePolicy.everything());
      assertTrue(result.removed().stream().allMatch(removed -> removed.kind() == Kind.NAME));
      assertTrue(result.storeBusy());
      assertTrue(result.left().bytes() > 0, "they count");
      assertEquals(
          result.left(), store.prune(PrunePolicy.downTo(DataSize.bytes(0))).left(), "and stay");
    }
    assertEquals(before - 1, files().size());
    assertTrue(store.prune(PrunePolicy.everything()).removed().size() >= 3);
  }

  @Test
  void aDownloadThatCanGoOnStaysUntilItsTurnComes() throws IOException {
    BlobStore blobs = new BlobStore(directory);
    Digest broken = Digests.sha256("broken off");
    FileCache.Maker download =
        file -> {
          Files.write(file, new byte[1000]);
          throw new IOException("broken off");
        };
    assertThrows(IOException.class, () -> blobs.get(broken, () -> {}, download));
    ResolvedImage old = store.resolve(ref(0));
    age(old, Duration.ofDays(1));

    PruneResult result = store.prune(PrunePolicy.downTo(DataSize.bytes(1000)));
    assertEquals(Set.of(name(old)), names(result));
    assertEquals(DataSize.bytes(1000), result.left());
    assertEquals(1, files().size());
    assertEquals(
        DataSize.bytes(1000), store.prune(PrunePolicy.downTo(DataSize.bytes(999))).freed());
    assertEquals(List.of(), files());
  }

  @Test
  void aStoreThatIsNotThereHasNothingToPrune() {
    assertEquals(DataSize.bytes(0), store.prune(PrunePolicy.everything()).left());
    assertTrue(Files.notExists(directory));
  }

  @Test
  void policiesThatSayNothingAreRefused() {
    assertThrows(
        IllegalArgumentException.class, () -> PrunePolicy.unusedFor(Duration.ofSeconds(-1)));
    assertEquals(
        List.of(),
        store.prune(PrunePolicy.unusedFor(Duration.ofSeconds(Long.MAX_VALUE))).removed());
  }

  @DisabledOnOs(
      value = OS.WINDOWS,
      disabledReason =
          "Linux mounts a file system for it, and has its own words for a read-only one")
  @Test
  void aStoreOnAReadOnlyDiskGivesWhatItHasAndSaysWhatItCannot() throws IOException {
    Path disk = Files.createDirectory(temp.resolve("disk"));
    Tool.run(temp, "mount", "-t", "tmpfs", "none", disk.toString());
    try {
      ImageStore there = new ImageStore(disk.resolve("store"));
      ResolvedImage image = there.resolve(ref(0));
      ImageRef pulledRef = pulled(new BlobStore(disk.resolve("store")));
      ResolvedImage pulled = there.resolve(pulledRef);
      Tool.run(temp, "mount", "-o", "remount,ro", disk.toString());

      assertEquals(image, there.resolve(ref(0)));
      assertEquals(pulled, there.resolve(pulledRef));
      assertEquals(pulled.filesystem(), there.resolve(pulled.pinnedRef()).filesystem());
      ImageException absent = assertThrows(ImageException.class, () -> there.resolve(ref(1)));
      assertTrue(absent.getMessage().contains("Read-only file system"), absent::getMessage);
      assertTrue(absent.remedy().orElse("").contains(disk.toString()), absent::getMessage);
      assertThrows(ImageException.class, () -> there.prune(PrunePolicy.everything()));
      MountedImage.check(there.resolve(ref(0)).filesystem());
    } finally {
      Tool.run(temp, "umount", disk.toString());
    }
  }

  @DisabledOnOs(
      value = OS.WINDOWS,
      disabledReason =
          "Linux mounts a small file system for it, and has its own words for a full one")
  @Test
  void aFullDiskLeavesTheStoreIntact() throws IOException {
    Path disk = Files.createDirectory(temp.resolve("disk"));
    Tool.run(temp, "mount", "-t", "tmpfs", "-o", "size=5m", "none", disk.toString());
    try {
      ImageStore there = new ImageStore(disk.resolve("store"));
      ResolvedImage first = there.resolve(ref(0));
      ImageException full = assertThrows(ImageException.class, () -> there.resolve(ref(1)));
      assertTrue(full.getMessage().contains("No space left on device"), full::getMessage);
      assertTrue(full.remedy().orElse("").contains("has space"), full::getMessage);
      MountedImage.check(there.resolve(ref(0)).filesystem());

      assertEquals(Set.of(name(first)), names(there.prune(PrunePolicy.everything())));
      MountedImage.check(there.resolve(ref(1)).filesystem());
    } finally {
      Tool.run(temp, "umount", disk.toString());
    }
  }
}
