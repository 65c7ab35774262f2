// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.oci;

import dev.nacelle.image.Platform;

/** What of images for a platform runs on another. */
final class Platforms {
  private Platforms() {}

  /** Whether system and processor are said. */
  static boolean isComplete(Platform platform) {
    return !platform.os().isEmpty() && !platform.architecture().isEmpty();
  }

  /** A platform, with what it does not say as another has it. */
  static Platform complete(Platform said, Platform other) {
    boolean ofProcessor = !said.architecture().isEmpty();
    return Platform.of(
        said.os().isEmpty() ? other.os() : said.os(),
        ofProcessor ? said.architecture() : other.architecture(),
        ofProcessor || !said.variant().isEmpty() ? said.variant() : other.variant());
  }

  /** Whether they are the same but for the variant. */
  static boolean areAlike(Platform one, Platform other) {
    return one.os().equals(other.os()) && one.architecture().equals(other.architecture());
  }

  /**
   * How well an image for one platform runs on another, as container engines rank it: an older
   * variant of the architecture runs too, and the newest of those is the best.
   *
   * @return negative where it does not run at all; else more is better
   */
  static int fitness(Platform image, Platform host) {
    if (!areAlike(image, host)) {
      return -1;
    }
    int own = level(host);
    int needed = level(image);
    if (own < 0 || needed < 0) {
      return host.variant().equals(image.variant()) ? 0 : -1;
    }
    return needed <= own ? needed : -1;
  }

  /** The number of a variant such as "v7"; negative where it has none. */
  private static int level(Platform platform) {
    String variant = platform.variant();
    if (variant.isEmpty()) {
      return switch (platform.architecture()) {
        case "arm64" -> 8;
        case "arm" -> 7;
        default -> 1;
      };
    }
    return variant.matches("v[0-9]{1,3}") ? Integer.parseInt(variant.substring(1)) : -1;
  }
}
