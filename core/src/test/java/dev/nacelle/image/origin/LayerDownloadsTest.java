// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.origin;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.nacelle.ImageException;
import dev.nacelle.image.oci.Descriptor;
import dev.nacelle.image.oci.Digests;
import dev.nacelle.image.registry.Deadline;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class LayerDownloadsTest {
  @Test
  void aFailureAtOnceIsThatOfWhoeverWaitsAndLeavesNoThread() throws Exception {
    List<Descriptor> layers =
        IntStream.range(0, 1_000)
            .mapToObj(
                i -> new Descriptor("", Digests.sha256(Integer.toString(i)), 1, null, Map.of()))
            .toList();
    Set<Thread> threads = Collections.newSetFromMap(new ConcurrentHashMap<>());

    try (LayerDownloads downloads =
        new LayerDownloads(
            layers,
            32,
            new Deadline(Duration.ofHours(1)),
            (layer, index) -> {
              threads.add(Thread.currentThread());
              throw new ImageException(ImageException.Reason.NETWORK, "no " + index, null, null);
            })) {
      ImageException failure =
          assertThrows(ImageException.class, () -> downloads.await(layers.get(999)));
      assertEquals("no", failure.getMessage().substring(0, 2));
    }
    for (Thread thread : threads) {
      assertEquals(Thread.State.TERMINATED, thread.getState());
    }
  }
}
