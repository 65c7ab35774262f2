// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.image;

import dev.nacelle.image.ImageRef;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.store.ImageStore;
import java.nio.file.Path;

/** Makes one image ready, in a process of its own. */
final class MakeImage {
  private MakeImage() {}

  /**
   * @param arguments the store's directory and the image's reference
   */
  public static void main(String... arguments) {
    store(Path.of(arguments[0])).resolve(ImageRef.parse(arguments[1]));
  }

  /**
   * A store that knows the benchmark's registry, which the system property {@code nacelle.registry}
   * names, to speak plain HTTP.
   */
  static ImageStore store(Path directory) {
    return new ImageStore(
        directory,
        ImageLimits.DEFAULT,
        RegistryOptions.builder().plainHttp(System.getProperty("nacelle.registry", "-")).build());
  }
}
