// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import dev.nacelle.FetchListener;
import dev.nacelle.PrunePolicy;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.Platform;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.image.oci.Digests;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.internal.OtherProcess;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;

/**
 * Another process that works on a store: it takes images of one place and prunes what it and others
 * took, in an order of its own.
 */
final class StoreWorker {
  private StoreWorker() {}

  /**
   * Starts one.
   *
   * @param place of the images, a reference up to the tag: they are t0, t1...
   * @param rounds after which it ends by itself
   */
  static OtherProcess start(Path store, String place, int tags, int rounds, long seed)
      throws IOException {
    return OtherProcess.start(StoreWorker.class, store, place, tags, rounds, seed);
  }

  /** A store that speaks to that place as it does, a test's registry. */
  static ImageStore open(Path store, String place, FetchListener listener) {
    RegistryOptions.Builder registries = RegistryOptions.builder();
    ImageRef.parse(place + "t0").registry().ifPresent(registries::plainHttp);
    return new ImageStore(store, ImageLimits.DEFAULT, registries.build(), listener);
  }

  /** Prints a line before and behind each step, and for each step of a download. */
  public static void main(String[] arguments) throws Exception {
    String place = arguments[1];
    ImageStore store = open(Path.of(arguments[0]), place, System.out::println);
    int tags = Integer.parseInt(arguments[2]);
    int rounds = Integer.parseInt(arguments[3]);
    Random random = new Random(Long.parseLong(arguments[4]));
    Map<String, String> contents = new TreeMap<>();
    for (int i = 0; i < rounds; i++) {
      String tag = "t" + random.nextInt(tags);
      ImageRef ref = ImageRef.parse(place + tag);
      System.out.println("take " + tag);
      try (ImageLease lease = store.lease(ref, Platform.LINUX_AMD64, PullPolicy.MISSING)) {
        System.out.println("has " + tag);
        store.prune(PrunePolicy.everything());
        String content = contents(lease.image().filesystem());
        String before = contents.putIfAbsent(tag, content);
        if (before != null && !before.equals(content)) {
          throw new AssertionError(tag + " was " + before + " and is " + content);
        }
      }
      if (random.nextBoolean()) {
        System.out.println("prune");
        store.prune(PrunePolicy.everything());
      }
    }
    System.out.println("done");
  }

  /** Not of the file: where its blocks are depends on what other images were there. */
  private static String contents(Path filesystem) {
    MountedImage.check(filesystem);
    StringBuilder contents = new StringBuilder();
    for (String file : new String[] {"low", "middle", "top"}) {
      String content =
          Tool.run(filesystem.getParent(), "debugfs", "-R", "cat " + file, filesystem.toString());
      contents.append(Digests.sha256(content)).append(' ');
    }
    return contents.toString();
  }
}
