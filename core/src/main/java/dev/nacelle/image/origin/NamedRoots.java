// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.origin;

import dev.nacelle.ImageException;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.oci.Descriptor;
import dev.nacelle.image.oci.ImageResolver;
import java.io.IOException;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Which of the images that a file holds a reference means. */
final class NamedRoots {
  private NamedRoots() {}

  static List<Descriptor> select(ImageRef ref, List<Descriptor> index, ImageResolver resolver)
      throws IOException {
    if (index.isEmpty()) {
      throw new ImageException(
          ImageException.Reason.NOT_FOUND,
          ref + ": there is no image in it" + resolver.passedOver(),
          null,
          null);
    }
    if (ref.digest().isPresent()) {
      @Nullable Descriptor pinned = resolver.find(index, ref.digest().get(), 0);
      if (pinned == null) {
        throw notThere(ref, "digest", index, resolver);
      }
      return List.of(pinned);
    }
    if (ref.tag().isPresent()) {
      List<Descriptor> tagged =
          index.stream().filter(d -> Objects.equals(d.refName(), ref.tag().get())).toList();
      if (tagged.isEmpty()) {
        throw notThere(ref, "tag", index, resolver);
      }
      return tagged;
    }
    return index;
  }

  private static ImageException notThere(
      ImageRef ref, String what, List<Descriptor> index, ImageResolver resolver) {
    return new ImageException(
        ImageException.Reason.NOT_FOUND,
        ref + ": there is no image of that " + what + resolver.passedOver(),
        "There are: " + ImageResolver.names(index) + ".",
        null);
  }
}
