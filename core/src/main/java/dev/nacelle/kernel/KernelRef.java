// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel;

import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Says which kernel a virtual machine boots. Immutable.
 *
 * <table>
 *   <caption>What {@link #parse} takes</caption>
 *   <tr><td>{@code file:PATH}<td>a Linux kernel as a file: an uncompressed vmlinux, or a bzImage
 *   <tr><td>{@code deb:PATH}<td>a Debian package file with a kernel and its modules in it
 *   <tr><td>{@code debian:SERIES}<td>the newest cloud kernel of that series that this machine's apt
 *       offers, such as {@code debian:6.1} or {@code debian:6.12}
 *   <tr><td>{@code image:IMAGE}<td>an OCI image that is laid out as LinuxKit's kernel images are, in
 *       a registry, a layout or an archive: {@code /kernel} is a vmlinux or bzImage, {@code
 *       /kernel.tar} has its modules below {@code lib/modules}. IMAGE is whatever {@link
 *       ImageRef#parse} takes, such as {@code image:linuxkit/kernel:6.6.13} or {@code
 *       image:oci:/srv/kernels:6.6}
 *   <tr><td>{@code nacelle:SERIES}<td>Nacelle's own kernel of that series, such as {@code
 *       nacelle:6.12}: the one in the artifact {@code nacelle-kernel-SERIES}, where that is among
 *       the program's dependencies, else as {@code guest-agent/kernel/build SERIES} last built it
 *       for this user. A pin may name either
 *   <tr><td>{@code default}<td>{@code nacelle:6.12}, whose artifact {@code dev.nacelle:nacelle}
 *       brings: with one version of the library the same bytes everywhere
 * </table>
 *
 * <p>Each but {@code default} may end in {@code @sha256:} and 64 hexadecimal digits: a pin, which
 * refuses every other content. The digest is that of the file that is named, as {@code sha256sum}
 * prints it; for {@code debian:} that is the package file, for {@code nacelle:} the vmlinux, and
 * for {@code image:} the image's manifest or index, as for any image.
 */
public final class KernelRef {
  private static final String PIN = "@sha256:";
  private static final String ONLY_SHA256 = "kernels are pinned by sha256 digests only";
  private static final Pattern HEX = Pattern.compile("[0-9a-f]{64}");

  /** "6.12", and the longer beginnings of a release as far as "6.12.117+deb12" or "6.1.0-56". */
  private static final Pattern SERIES =
      Pattern.compile("[0-9]{1,4}\\.[0-9]{1,4}([.+~-][0-9A-Za-z]{1,20}){0,4}");

  private static final Pattern OWN_SERIES = Pattern.compile("[0-9]{1,4}\\.[0-9]{1,4}");

  private static final KernelRef DEFAULT = new KernelRef(Scheme.DEFAULT, "", null);

  /**
   * Where kernels can be; {@link KernelRef} describes each. More may be added: a {@code switch} has
   * a default.
   */
  public enum Scheme {
    /** {@code file:PATH}. */
    FILE,
    /** {@code deb:PATH}. */
    DEB,
    /** {@code debian:SERIES}. */
    DEBIAN,
    /** {@code image:IMAGE}. */
    IMAGE,
    /** {@code nacelle:SERIES}. */
    NACELLE,
    /** Without a name, and not to be pinned: it stands for another reference. */
    DEFAULT;

    String text() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  private final Scheme scheme;
  private final String name;
  private final @Nullable Digest digest;

  private KernelRef(Scheme scheme, String name, @Nullable Digest digest) {
    this.scheme = scheme;
    this.name = name;
    this.digest = digest;
  }

  /**
   * Reads a reference in one of the forms above.
   *
   * @throws IllegalArgumentException saying which part of it is wrong
   */
  public static KernelRef parse(String text) {
    if (text.equals(DEFAULT.toString())) {
      return DEFAULT;
    }
    int colon = text.indexOf(':');
    String name = text.substring(colon + 1);
    int at = name.lastIndexOf('@');
    return switch (text.substring(0, Math.max(0, colon))) {
      case "file" -> pinned(name, pinOfPath(name), bare -> file(path(text, bare)));
      case "deb" -> pinned(name, pinOfPath(name), bare -> deb(path(text, bare)));
      case "debian" -> pinned(name, at, KernelRef::debian);
      case "nacelle" -> pinned(name, at, KernelRef::nacelle);
      case "image" -> image(parseImage(text, name));
      default ->
          throw bad(
              text,
              "it does not start with file:, deb:, debian:, image: or nacelle:, and is not default",
              "Write file:PATH, deb:PATH, debian:SERIES, image:IMAGE or nacelle:SERIES, such as"
                  + " debian:6.12.");
    };
  }

  /** Where the pin behind a path starts, or -1: an '@' may be part of the path. */
  private static int pinOfPath(String name) {
    int at = name.lastIndexOf('@');
    return name.startsWith(PIN, at) && name.indexOf('/', at) < 0 ? at : -1;
  }

  private static KernelRef pinned(String name, int at, Function<String, KernelRef> factory) {
    if (at < 0) {
      return factory.apply(name);
    }
    KernelRef ref = factory.apply(name.substring(0, at));
    String pin = name.substring(at);
    if (!pin.startsWith(PIN) || !HEX.matcher(pin.substring(PIN.length())).matches()) {
      throw bad(
          ref + pin,
          "the pin is not sha256: and 64 lower-case hexadecimal digits",
          "Compute it with sha256sum.");
    }
    return ref.withDigest(Digest.parse(pin.substring(1)));
  }

  private static ImageRef parseImage(String text, String name) {
    try {
      return ImageRef.parse(name);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "Bad kernel reference \"" + text + "\": " + e.getMessage(), e);
    }
  }

  private static Path path(String text, String name) {
    try {
      return Path.of(name);
    } catch (InvalidPathException e) {
      throw bad(text, "no path: " + e.getMessage(), null);
    }
  }

  /**
   * A vmlinux or bzImage. A relative path is one from the working directory of the moment of use.
   *
   * @throws IllegalArgumentException when the path is empty, or its end would read as a pin
   */
  public static KernelRef file(Path path) {
    return new KernelRef(Scheme.FILE, bareName(Scheme.FILE, path), null);
  }

  /**
   * A Debian package file ({@code .deb}) with a kernel in it.
   *
   * @throws IllegalArgumentException when the path is empty, or its end would read as a pin
   */
  public static KernelRef deb(Path path) {
    return new KernelRef(Scheme.DEB, bareName(Scheme.DEB, path), null);
  }

  /**
   * The newest {@code linux-image-SERIES*-cloud-amd64-unsigned} that this machine's apt offers.
   *
   * @param series such as "6.12"; a longer one, such as "6.12.117", narrows it down
   */
  public static KernelRef debian(String series) {
    if (!SERIES.matcher(series).matches()) {
      throw bad(
          "debian:" + series,
          "\"" + series + "\" is no kernel series",
          "Write the first two numbers of a kernel's release, such as debian:6.12.");
    }
    return new KernelRef(Scheme.DEBIAN, series, null);
  }

  /**
   * The kernel in an OCI image that is laid out as LinuxKit's kernel images are. A digest of the
   * image's reference is the kernel's pin.
   *
   * @throws IllegalArgumentException when that digest is no sha256
   */
  public static KernelRef image(ImageRef image) {
    Optional<Digest> digest = image.digest();
    if (digest.isEmpty()) {
      return new KernelRef(Scheme.IMAGE, image.toString(), null);
    }
    if (digest.get().algorithm() != Digest.Algorithm.SHA256) {
      throw bad("image:" + image, ONLY_SHA256, null);
    }
    String text = image.toString();
    return new KernelRef(Scheme.IMAGE, text.substring(0, text.lastIndexOf('@')), digest.get());
  }

  /**
   * Nacelle's own kernel, from its artifact, else as {@code guest-agent/kernel/build} last built it
   * for this user.
   *
   * @param series such as "6.12"
   */
  public static KernelRef nacelle(String series) {
    if (!OWN_SERIES.matcher(series).matches()) {
      throw bad(
          "nacelle:" + series,
          "\"" + series + "\" is no kernel series",
          "Write the first two numbers of a kernel's release, such as nacelle:6.12.");
    }
    return new KernelRef(Scheme.NACELLE, series, null);
  }

  /**
   * {@linkplain #nacelle Nacelle's own kernel} of the series that comes with this version of the
   * library: {@code nacelle:6.12}. A later version may bring another.
   */
  public static KernelRef defaultKernel() {
    return DEFAULT;
  }

  /**
   * The same reference, pinned.
   *
   * @param digest of SHA-256
   * @throws IllegalArgumentException for another algorithm, and for {@link #defaultKernel()}, which
   *     is no particular kernel
   */
  public KernelRef withDigest(Digest digest) {
    if (scheme == Scheme.DEFAULT) {
      throw bad(
          this + "@" + digest,
          "the default is no particular kernel, so it cannot be pinned",
          "Pin what it resolves to: SandboxInfo.kernel().");
    }
    if (scheme == Scheme.IMAGE) {
      return image(imageRef().orElseThrow().withDigest(digest));
    }
    if (digest.algorithm() != Digest.Algorithm.SHA256) {
      throw bad(this + "@" + digest, ONLY_SHA256, null);
    }
    return new KernelRef(scheme, name, digest);
  }

  private static String bareName(Scheme scheme, Path path) {
    String name = path.toString();
    String text = scheme.text() + ":" + name;
    if (name.isEmpty()) {
      throw bad(text, "the path is empty", null);
    }
    if (pinOfPath(name) >= 0) {
      throw bad(
          text,
          "the path itself ends in " + PIN + "..., which would read as a pin",
          "Rename the file, or link to it by another name; to pin it, use withDigest.");
    }
    return name;
  }

  private static IllegalArgumentException bad(String text, String why, @Nullable String remedy) {
    return new IllegalArgumentException(
        "Bad kernel reference \"" + text + "\": " + why + (remedy == null ? "" : ". " + remedy));
  }

  /** The digest it is pinned to, if it is. */
  public Optional<Digest> digest() {
    return Optional.ofNullable(digest);
  }

  /** Where it is. */
  public Scheme scheme() {
    return scheme;
  }

  /** The path, the series, or the image without its digest; empty for the default. */
  public String name() {
    return name;
  }

  /** The image of an {@code image:}, with its digest where there is one; empty for all others. */
  public Optional<ImageRef> imageRef() {
    return scheme == Scheme.IMAGE
        ? Optional.of(ImageRef.parse(toString().substring(scheme.text().length() + 1)))
        : Optional.empty();
  }

  /** The form that {@link #parse} takes. */
  @Override
  public String toString() {
    return scheme == Scheme.DEFAULT
        ? scheme.text()
        : scheme.text() + ":" + name + (digest == null ? "" : "@" + digest);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof KernelRef ref
        && scheme == ref.scheme
        && name.equals(ref.name)
        && Objects.equals(digest, ref.digest);
  }

  @Override
  public int hashCode() {
    return Objects.hash(scheme, name, digest);
  }
}
