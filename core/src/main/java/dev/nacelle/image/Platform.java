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
}
