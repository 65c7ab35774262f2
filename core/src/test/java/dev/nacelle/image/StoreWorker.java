// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.internal.OtherProcess;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;

/**
 * Another process that works on a store: it takes images of a layout and prunes what it and others
 * took, in an order of its own.
 */
final class StoreWorker {
  private StoreWorker() {}

  /**
   * Starts one.
   *
   * @param rounds after which it ends by itself
   */
  static OtherProcess start(Path store, LayoutMaker layout, int tags, int rounds, long seed)
      throws IOException {
    return OtherProcess.start(StoreWorker.class, store, layout.directory(), tags, rounds, seed);
  }

  /** Prints a line before and behind each step. */
  public static void main(String[] arguments) throws Exception {
    ImageStore store = new ImageStore(Path.of(arguments[0]));
    int tags = Integer.parseInt(arguments[2]);
    int rounds = Integer.parseInt(arguments[3]);
    Random random = new Random(Long.parseLong(arguments[4]));
    Map<String, String> contents = new TreeMap<>();
    for (int i = 0; i < rounds; i++) {
      String tag = "t" + random.nextInt(tags);
      ImageRef ref = ImageRef.parse("oci:" + arguments[1] + ":" + tag);
      System.out.println("take " + tag);
      try (ImageLease lease = store.lease(ref, Platform.LINUX_AMD64, PullPolicy.NEVER)) {
        System.out.println("has " + tag);
        store.prune(PrunePolicy.everything());
        String content = contents(lease.image().filesystem());
        String before = contents.putIfAbsent(tag, content);
        if (before != null && !before.equals(content)) {
          throw new AssertionError(tag + " was " + before + " and is " + content);
        }
      }
      System.out.println("prune");
      store.prune(PrunePolicy.everything());
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
      contents.append(Digest.sha256(content)).append(' ');
    }
    return contents.toString();
  }
}
