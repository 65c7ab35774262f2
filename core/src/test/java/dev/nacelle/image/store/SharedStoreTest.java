// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.PrunePolicy;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.oci.Digests;
import dev.nacelle.image.testing.FaultProxy;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.LayoutMaker.Layer;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.RegistryServer;
import dev.nacelle.image.testing.TarMaker;
import dev.nacelle.image.testing.TreeListing;
import dev.nacelle.internal.OtherProcess;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Several processes at one store, some of which are killed. */
@Timeout(300)
@Tag("slow")
class SharedStoreTest {
  private static final int TAGS = 3;

  @TempDir static Path shared;
  private static LayoutMaker layout;
  private static RegistryServer registry;
  private static String lowDigest;
  private static final List<TreeListing> trees = new ArrayList<>();

  @TempDir Path directory;

  /** Where the images come from: without a download, and with names, blobs and downloads, too. */
  enum Place {
    LAYOUT,
    REGISTRY;

    String prefix() {
      return this == LAYOUT ? "oci:" + layout.directory() + ":" : registry.host() + "/siblings:";
    }
  }

  /** Images of which each has some of its layers in common with the others. */
  @BeforeAll
  static void makeImages() throws IOException {
    layout = new LayoutMaker(shared.resolve("layout"));
    byte[] lowTar = noise("low", 0).file("d/removed", "1").finish();
    lowDigest = LayoutMaker.digest(LayoutMaker.gzip(lowTar));
    Layer low = layout.gzipLayer(lowTar);
    Layer middle =
        layout.gzipLayer(noise("middle", 1).file("d/.wh.removed", "").file("d/m", "").finish());
    Layer[] tops = new Layer[TAGS];
    for (int i = 0; i < TAGS; i++) {
      tops[i] =
          layout.gzipLayer(noise("top", 2 + i).file(i == 0 ? ".wh.d" : "d/" + i, "").finish());
    }
    layout.tag(layout.image("linux/amd64", low, middle, tops[0]), "t0");
    layout.tag(layout.image("linux/amd64", low, middle, tops[1]), "t1");
    layout.tag(layout.image("linux/amd64", low, tops[2]), "t2");
    registry = RegistryServer.open(shared.resolve("registry"));
    for (int i = 0; i < TAGS; i++) {
      String image = Place.LAYOUT.prefix() + "t" + i;
      registry.push(image, "siblings:t" + i, "--preserve-digests");
      ImageStore reference = new ImageStore(shared.resolve("reference" + i));
      trees.add(tree(reference.resolve(ImageRef.parse(image))));
    }
  }

  @AfterAll
  static void stopRegistry() throws IOException {
    registry.close();
  }

  private static TarMaker noise(String name, int seed) {
    byte[] noise = new byte[1_000_000];
    new Random(seed).nextBytes(noise);
    return new TarMaker().add(TarMaker.header('0', name).size(noise.length), noise);
  }

  private static TreeListing tree(ResolvedImage image) throws IOException {
    MountedImage.check(image.filesystem());
    try (MountedImage mounted = MountedImage.mount(image.filesystem(), "ro")) {
      return TreeListing.of(mounted.root());
    }
  }

  private List<Path> files() throws IOException {
    try (Stream<Path> files = Files.walk(directory)) {
      return files.filter(Files::isRegularFile).filter(file -> !file.endsWith(".locks")).toList();
    }
  }

  /** Also of what others left: something half-made would be taken for whole. */
  private void assertIntact(Place place) throws IOException {
    for (Path file : files()) {
      if (file.getParent().endsWith("blobs/sha256") && !isHidden(file)) {
        Digest digest = Digests.of(Digest.Algorithm.SHA256, file);
        assertEquals(file.getFileName().toString(), digest.hex());
      }
    }
    ImageStore store = StoreWorker.open(directory, place.prefix(), progress -> {});
    for (int i = 0; i < TAGS; i++) {
      ResolvedImage image = store.resolve(ImageRef.parse(place.prefix() + "t" + i));
      assertEquals("", trees.get(i).differences(tree(image)));
    }
  }

  private static boolean isHidden(Path file) {
    return file.getFileName().toString().startsWith(".");
  }

  private void assertNothingStays() throws IOException {
    new ImageStore(directory).prune(PrunePolicy.everything());
    assertEquals(List.of(), files());
  }

  @ParameterizedTest
  @EnumSource
  void processesThatAreKilledAnywhereLeaveTheStoreIntactAndNothingForGood(Place place)
      throws Exception {
    // About what a worker prints for its first images, downloads included.
    int most = place == Place.LAYOUT ? 12 : 60;
    Random random = new Random();
    for (int i = 0; i < 6; i++) {
      long seed = random.nextLong();
      try (OtherProcess worker =
          StoreWorker.start(directory, place.prefix(), TAGS, Integer.MAX_VALUE, seed)) {
        for (int lines = 1 + random.nextInt(most); lines > 0; lines--) {
          assertTrue(worker.read() != null);
        }
        worker.kill();
      }
      // Every other time the next one finds what this one left.
      if (i % 2 == 1) {
        assertIntact(place);
      }
    }
    assertNothingStays();
  }

  @ParameterizedTest
  @EnumSource
  void severalProcessesShareAStore(Place place) throws Exception {
    List<OtherProcess> workers = new ArrayList<>();
    try {
      for (int i = 0; i < 3; i++) {
        workers.add(StoreWorker.start(directory, place.prefix(), TAGS, 15, i));
      }
      for (OtherProcess worker : workers) {
        assertEquals("done", lastLine(worker));
        assertEquals(0, worker.waitFor());
      }
    } finally {
      for (OtherProcess worker : workers) {
        worker.close();
      }
    }
    assertIntact(place);
    assertNothingStays();
  }

  private static String lastLine(OtherProcess process) throws IOException {
    String last = "";
    for (String line; (line = process.read()) != null; ) {
      last = line;
    }
    return last;
  }

  /** Another process, which pulls one image. */
  static final class Puller {
    private Puller() {}

    public static void main(String[] arguments) {
      ImageStore store = StoreWorker.open(Path.of(arguments[0]), arguments[1], progress -> {});
      store.resolve(ImageRef.parse(arguments[1] + arguments[2]));
      System.out.println("done");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"t1", "t2"})
  void aLayerThatTwoProcessesWantIsDownloadedOnce(String other) throws Exception {
    CountDownLatch bothLookUp = new CountDownLatch(2);
    try (FaultProxy proxy = new FaultProxy("http://" + registry.host())) {
      proxy.fail(
          "/manifests/t",
          (request, upstream, client, out) -> {
            bothLookUp.countDown();
            FaultProxy.pass().answer(request, upstream, client, out);
          });
      proxy.fail(
          lowDigest,
          (request, upstream, client, out) -> {
            try {
              bothLookUp.await();
            } catch (InterruptedException e) {
              throw new AssertionError(e);
            }
            FaultProxy.pass().answer(request, upstream, client, out);
          });
      String place = proxy.host() + "/siblings:";
      try (OtherProcess first = OtherProcess.start(Puller.class, directory, place, "t1");
          OtherProcess second = OtherProcess.start(Puller.class, directory, place, other)) {
        assertEquals("done", lastLine(first));
        assertEquals("done", lastLine(second));
      }
      assertEquals(1, proxy.requests(lowDigest).size());
    }
  }
}
