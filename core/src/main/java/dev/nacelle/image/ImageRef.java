// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import java.nio.file.Path;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Says which image a sandbox runs. Immutable.
 *
 * <table>
 *   <caption>What {@link #parse} takes</caption>
 *   <tr><td>{@code [HOST[:PORT]/]NAME[:TAG][@sha256:HEX]}<td>an image in a registry, with Docker's
 *       defaults: {@code python} is {@code docker.io/library/python:latest}. Where there is a
 *       digest, it decides, and the tag is a comment.
 *   <tr><td>{@code oci:DIRECTORY[:TAG]}<td>the only image of an OCI image layout, or the one of
 *       that name in it; the first colon ends the directory, as in skopeo and umoci
 *   <tr><td>{@code oci-archive:FILE[:TAG]}<td>the same of a layout in a tar archive
 *   <tr><td>{@code docker-archive:FILE[:NAME[:TAG]]}<td>the only image in what {@code docker save}
 *       wrote, or the one of that name
 *   <tr><td>{@code dir:DIRECTORY}<td>a directory that is a root filesystem, read anew each time
 * </table>
 *
 * <p>The three before the last take {@code @sha256:HEX}, the digest of a manifest or index, instead
 * of a tag.
 */
public final class ImageRef {
  /** Where images can be. More may be added: a {@code switch} has a default. */
  public enum Transport {
    /** In a registry. */
    REGISTRY(""),
    /** In a directory that is an OCI image layout. */
    OCI_LAYOUT("oci:"),
    /** In a tar archive of an OCI image layout. */
    OCI_ARCHIVE("oci-archive:"),
    /** In an archive that {@code docker save} wrote. */
    DOCKER_ARCHIVE("docker-archive:"),
    /** A directory that is a root filesystem. */
    DIRECTORY("dir:");

    private final String prefix;

    Transport(String prefix) {
      this.prefix = prefix;
    }

    String prefix() {
      return prefix;
    }
  }

  private final Transport transport;

  /** The path of a layout or archive, or registry and repository: as it was written. */
  private final String place;

  private final @Nullable String tag;
  private final @Nullable Digest digest;

  ImageRef(Transport transport, String place, @Nullable String tag, @Nullable Digest digest) {
    this.transport = transport;
    this.place = place;
    this.tag = tag;
    this.digest = digest;
  }

  /**
   * Reads a reference in one of the forms above.
   *
   * @throws IllegalArgumentException saying which part of it is wrong, and at which character
   */
  public static ImageRef parse(String text) {
    return new ImageRefParser(text).parse();
  }

  /**
   * The only image of an OCI image layout. Of this and the other two for files:
   *
   * @throws IllegalArgumentException when the path is empty or has a colon (but for a drive's), so
   *     that no reference can be written of it
   */
  public static ImageRef ociLayout(Path directory) {
    return ofPath(Transport.OCI_LAYOUT, directory);
  }

  /** The only image of an OCI image layout in a tar archive. */
  public static ImageRef ociArchive(Path file) {
    return ofPath(Transport.OCI_ARCHIVE, file);
  }

  /**
   * A root filesystem: the directory's content, with its owners and modes, as it is when a sandbox
   * starts. It says nothing of processes.
   *
   * @throws IllegalArgumentException as {@link #ociLayout}
   */
  public static ImageRef directory(Path directory) {
    return ofPath(Transport.DIRECTORY, directory);
  }

  /** The only image of an archive that {@code docker save} wrote. */
  public static ImageRef dockerArchive(Path file) {
    return ofPath(Transport.DOCKER_ARCHIVE, file);
  }

  /** Read again from what it prints, it would be another path with a tag or digest. */
  private static ImageRef ofPath(Transport transport, Path path) {
    String place = path.toString();
    if (place.isEmpty() || ImageRefParser.endOfPath(place) >= 0) {
      throw new IllegalArgumentException(
          "The path '"
              + place
              + "' cannot be that of an image: it is empty or has a colon. Use a symbolic link"
              + " without a colon, or \".\" for the working directory.");
    }
    return new ImageRef(transport, place, null, null);
  }

  /** The image of that digest in the same place. */
  public ImageRef withDigest(Digest digest) {
    return new ImageRef(transport, place, transport == Transport.REGISTRY ? tag : null, digest);
  }

  /** Where it is. */
  public Transport transport() {
    return transport;
  }

  /** The directory or file of what is in no registry; empty for what is in one. */
  public Optional<Path> path() {
    return transport == Transport.REGISTRY ? Optional.empty() : Optional.of(Path.of(place));
  }

  /** The registry, {@code HOST[:PORT]}, such as "docker.io"; empty for what is in no registry. */
  public Optional<String> registry() {
    return transport == Transport.REGISTRY
        ? Optional.of(place.substring(0, place.indexOf('/')))
        : Optional.empty();
  }

  /** The name within the registry, such as "library/python"; empty for what is in no registry. */
  public Optional<String> repository() {
    return transport == Transport.REGISTRY
        ? Optional.of(place.substring(place.indexOf('/') + 1))
        : Optional.empty();
  }

  /**
   * The tag, if it names one; "latest" where a registry's image has neither tag nor digest. For
   * {@code docker-archive:} this is a whole name, such as "docker.io/library/python:3.12".
   */
  public Optional<String> tag() {
    return Optional.ofNullable(tag);
  }

  /** The digest of a manifest or index, if it is pinned to one. */
  public Optional<Digest> digest() {
    return Optional.ofNullable(digest);
  }

  /** With every default written out; {@link #parse} takes it. */
  @Override
  public String toString() {
    return transport.prefix
        + place
        + (tag == null ? "" : ":" + tag)
        + (digest == null ? "" : "@" + digest);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof ImageRef ref
        && transport == ref.transport
        && place.equals(ref.place)
        && Objects.equals(tag, ref.tag)
        && Objects.equals(digest, ref.digest);
  }

  @Override
  public int hashCode() {
    return Objects.hash(transport, place, tag, digest);
  }
}
