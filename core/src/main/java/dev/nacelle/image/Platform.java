// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * What an image runs on ("platform" of the OCI image specification's image-index.md). Immutable.
 *
 * <p>Spellings of other tools are those of Go here: "x86_64" is "amd64", "Linux" is "linux". What
 * an image does not say is empty.
 */
public final class Platform {
  /** What the hypervisors run today. */
  public static final Platform LINUX_AMD64 = of("linux", "amd64");

  private final String os;
  private final String architecture;
  private final String variant;

  private Platform(String os, String architecture, String variant) {
    this.os = os;
    this.architecture = architecture;
    this.variant = variant;
  }

  /** With the basic variant of the architecture. */
  public static Platform of(String os, String architecture) {
    return of(os, architecture, "");
  }

  /**
   * With what the getters of the same names tell, each thing by its one name, as containerd's
   * platforms package has it.
   */
  public static Platform of(String os, String architecture, String variant) {
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
    return new Platform(os, architecture, variant);
  }

  /**
   * Reads {@code OS/ARCHITECTURE[/VARIANT]}, as {@link #toString} writes it.
   *
   * @throws IllegalArgumentException when it is anything else
   */
  public static Platform parse(String text) {
    String[] parts = text.split("/", -1);
    if (parts.length < 2 || parts.length > 3 || List.of(parts).contains("")) {
      throw new IllegalArgumentException("no OS/ARCHITECTURE[/VARIANT]: " + text);
    }
    return of(parts[0], parts[1], parts.length == 3 ? parts[2] : "");
  }

  /** Such as "linux". */
  public String os() {
    return os;
  }

  /** In Go's names, such as "amd64". */
  public String architecture() {
    return architecture;
  }

  /**
   * Of the architecture, such as "v7"; empty for the basic one, which some call "v1" on amd64 and
   * "v8" on arm64.
   */
  public String variant() {
    return variant;
  }

  private List<Object> state() {
    return List.of(os, architecture, variant);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof Platform that && state().equals(that.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  /** {@code os/architecture[/variant]}. */
  @Override
  public String toString() {
    return os + "/" + architecture + (variant.isEmpty() ? "" : "/" + variant);
  }
}
