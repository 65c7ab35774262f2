// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.origin;

import dev.nacelle.ImageException;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.layer.Decompression;
import dev.nacelle.image.oci.Descriptor;
import dev.nacelle.image.oci.Digests;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.oci.ImageResolver;
import dev.nacelle.image.oci.MediaTypes;
import dev.nacelle.image.oci.OciJson;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * What "docker save" writes ("Combined Image JSON + Filesystem Changeset Format" of Docker's image
 * specification 1.2): a tar archive with manifest.json, which names a configuration and layers for
 * each image. It has no manifests, so they are made here, the same each time.
 */
public final class DockerArchive implements ImageOrigin {
  private static final String REMEDY =
      "Write a file that 'docker save' or 'skopeo copy ... docker-archive:FILE' made.";

  private static final int MAX_IMAGES = 1_000;

  private final ImageRef ref;
  private final ArchiveFile files;
  private final ImageLimits limits;
  private final Map<Digest, String> names = new HashMap<>();
  private final Map<Digest, byte[]> manifests = new HashMap<>();
  private final Map<String, Digest> digests = new HashMap<>();

  private DockerArchive(ImageRef ref, ArchiveFile files, ImageLimits limits) {
    this.ref = ref;
    this.files = files;
    this.limits = limits;
  }

  /**
   * The archive that a reference names.
   *
   * @throws ImageException when it is none
   */
  public static DockerArchive open(ImageRef ref, ImageLimits limits) throws IOException {
    Path path = ref.path().orElseThrow();
    return new DockerArchive(ref, ArchiveFile.open(path, limits, REMEDY), limits);
  }

  @Override
  public List<Descriptor> roots(ImageResolver resolver) throws IOException {
    List<OciJson> images = OciJson.parseArray(read("manifest.json"), files + "/manifest.json");
    if (images.size() > MAX_IMAGES) {
      throw new ImageException(
          ImageException.Reason.TOO_LARGE,
          files + " has more than " + MAX_IMAGES + " images",
          null,
          null);
    }
    List<Descriptor> roots = new ArrayList<>();
    for (OciJson image : wanted(images)) {
      Descriptor root = describe(image);
      List<String> tags = image.strings("RepoTags");
      if (tags.isEmpty()) {
        roots.add(root);
      }
      for (String tag : tags) {
        roots.add(
            new Descriptor(
                root.mediaType(),
                root.digest(),
                root.size(),
                null,
                Map.of(Descriptor.REF_NAME, full(tag))));
      }
    }
    return NamedRoots.select(ref, roots, resolver);
  }

  /** Those with the tag that is looked for, or all: compressed layers have to be read for it. */
  private List<OciJson> wanted(List<OciJson> images) {
    List<OciJson> tagged = images.stream().filter(this::hasTag).toList();
    return tagged.isEmpty() ? images : tagged;
  }

  private boolean hasTag(OciJson image) {
    return image.strings("RepoTags").stream()
        .anyMatch(tag -> ref.tag().equals(Optional.of(full(tag))));
  }

  /** With the defaults that are left out in there, as they are written out in a reference. */
  private static String full(String tag) {
    try {
      return ImageRef.parse(tag).toString();
    } catch (IllegalArgumentException e) {
      return tag;
    }
  }

  private Descriptor describe(OciJson image) throws IOException {
    byte[] config = read(image.string("Config"));
    Descriptor configBlob = keep(MediaTypes.CONFIG, config, image.string("Config"));
    List<String> diffIds =
        OciJson.parse(config, files + "/" + image.string("Config"))
            .object("rootfs")
            .strings("diff_ids");
    List<String> layers = image.strings("Layers");
    if (layers.size() > limits.layers() || layers.size() != diffIds.size()) {
      throw image.fault(
          "Layers",
          layers.size()
              + " layers, for a configuration of "
              + diffIds.size()
              + " and a limit of "
              + limits.layers());
    }
    List<Descriptor> blobs = new ArrayList<>();
    for (int i = 0; i < layers.size(); i++) {
      blobs.add(layer(image, layers.get(i), diffIds.get(i)));
    }
    byte[] manifest =
        "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":%s,\"layers\":[%s]}"
            .formatted(
                MediaTypes.MANIFEST,
                configBlob.toJson(),
                blobs.stream().map(Descriptor::toJson).collect(Collectors.joining(",")))
            .getBytes(StandardCharsets.UTF_8);
    Digest digest = Digests.sha256(manifest);
    manifests.put(digest, manifest);
    return new Descriptor(MediaTypes.MANIFEST, digest, manifest.length, null, Map.of());
  }

  private Descriptor keep(String mediaType, byte[] content, String name) {
    Digest digest = Digests.sha256(content);
    names.put(digest, name);
    return new Descriptor(mediaType, digest, content.length, null, Map.of());
  }

  private Descriptor layer(OciJson image, String name, String diffId) throws IOException {
    long size = files.size(name);
    if (size < 0) {
      throw image.fault("Layers", "'" + name + "' is missing in the archive");
    }
    Digest digest;
    try {
      // A layer that is not compressed is what its diff_id names.
      digest = isCompressed(name) ? digest(name) : Digest.parse(diffId);
    } catch (IllegalArgumentException e) {
      throw image.fault("Config", e.getMessage() + ", in rootfs/diff_ids");
    }
    names.put(digest, name);
    return new Descriptor(MediaTypes.LAYER, digest, size, null, Map.of());
  }

  /** As Docker writes layers where containerd keeps its images. */
  private boolean isCompressed(String name) throws IOException {
    try (InputStream in = require(name)) {
      return Decompression.format(in.readNBytes(Decompression.MAGIC_LENGTH)).isPresent();
    }
  }

  private Digest digest(String name) throws IOException {
    Digest known = digests.get(name);
    if (known != null) {
      return known;
    }
    try (InputStream in = require(name)) {
      Digest digest = Digests.of(Digest.Algorithm.SHA256, in);
      digests.put(name, digest);
      return digest;
    }
  }

  private byte[] read(String name) throws IOException {
    byte[] bytes = files.read(name, limits);
    if (bytes == null) {
      throw missing(name);
    }
    return bytes;
  }

  private InputStream require(String name) throws IOException {
    InputStream in = files.open(name);
    if (in == null) {
      throw missing(name);
    }
    return in;
  }

  private ImageException missing(String name) {
    return new ImageException(
        ImageException.Reason.UNSUPPORTED,
        files + " is no archive of 'docker save': " + name + " is missing",
        REMEDY,
        null);
  }

  @Override
  public InputStream open(Descriptor blob) throws IOException {
    byte[] manifest = manifests.get(blob.digest());
    if (manifest != null) {
      return new ByteArrayInputStream(manifest);
    }
    String name = names.get(blob.digest());
    if (name == null) {
      throw new ImageException(
          ImageException.Reason.DAMAGED,
          "The blob " + blob.digest() + " is missing in " + files,
          null,
          null);
    }
    return require(name);
  }

  @Override
  public String toString() {
    return files.toString();
  }
}
