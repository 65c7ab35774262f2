// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import java.util.Locale;

/**
 * What an image runs on ("platform" of the OCI image specification's image-index.md).
 *
 * <p>Spellings of other tools are those of Go here: "x86_64" is "amd64", "Linux" is "linux". What
 * an image does not say is empty.
 *
 * @param os such as "linux"
 * @param architecture in Go's names, such as "amd64"
 * @param variant of the architecture, such as "v7"; empty for the basic one, which some call "v1"
 *     on amd64 and "v8" on arm64
 */
public record Platform(String os, String architecture, String variant) {
  /** What the hypervisors run today. */
  public static final Platform LINUX_AMD64 = new Platform("linux", "amd64", "");

  /** Gives each thing its one name, as containerd's platforms package does. */
  public Platform {
    os = os.toLowerCase(Locale.ROOT);
    os = os.equals("macos") ? "darwin" : os;
    architecture = architecture.toLowerCase(Locale.ROOT);
    variant = variant.toLowerCase(Locale.ROOT);
    switch (architecture) {
      case "x86_64", "x86-64" -> architecture = "amd64";
      case "i386" -> architecture = "386";
      case "aarch64" -> architecture = "arm64";
      case "armhf" -> {
        architecture = "arm";
        variant = "v7";
      }
      case "armel" -> {
        architecture = "arm";
        variant = "v6";
      }
      default -> {}
    }
    if (architecture.startsWith("arm") && variant.matches("[0-9]")) {
      variant = "v" + variant;
    }
    if ((architecture.equals("amd64") && variant.equals("v1"))
        || (architecture.equals("arm64") && variant.equals("v8"))) {
      variant = "";
    }
  }

  /** {@code os/architecture[/variant]}. */
  @Override
  public String toString() {
    return os + "/" + architecture + (variant.isEmpty() ? "" : "/" + variant);
  }

  /** Whether system and processor are said. */
  boolean isComplete() {
    return !os.isEmpty() && !architecture.isEmpty();
  }

  /** This, with what it does not say as another has it. */
  Platform or(Platform other) {
    return new Platform(
        os.isEmpty() ? other.os : os,
        architecture.isEmpty() ? other.architecture : architecture,
        architecture.isEmpty() && variant.isEmpty() ? other.variant : variant);
  }

  /** Whether it is that but for the variant. */
  boolean isLike(Platform other) {
    return os.equals(other.os) && architecture.equals(other.architecture);
  }

  /**
   * How well something for another platform runs on this one, as container engines rank it: an
   * older variant of the architecture runs too, and the newest of those is the best.
   *
   * @return negative where it does not run at all; else more is better
   */
  int fitness(Platform image) {
    if (!isLike(image)) {
      return -1;
    }
    int own = level(variant);
    int needed = level(image.variant);
    if (own < 0 || needed < 0) {
      return variant.equals(image.variant) ? 0 : -1;
    }
    return needed <= own ? needed : -1;
  }

  /** The number of a variant such as "v7"; negative where it has none. */
  private int level(String variant) {
    if (variant.isEmpty()) {
      return switch (architecture) {
        case "arm64" -> 8;
        case "arm" -> 7;
        default -> 1;
      };
    }
    return variant.matches("v[0-9]{1,3}") ? Integer.parseInt(variant.substring(1)) : -1;
  }
}
