// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.oci;

import dev.nacelle.ImageException;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageConfig;
import dev.nacelle.image.Platform;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One image: manifest.md and config.md of the OCI image specification.
 *
 * @param diffIds digests of the layers' tar archives, one for each layer
 */
public record Manifest(
    Descriptor descriptor, ImageConfig config, List<Descriptor> layers, List<Digest> diffIds) {
  /**
   * What a manifest says before its configuration is read.
   *
   * @param otherContent says that there is something else than layers of a filesystem in it, as in
   *     signatures, whose configuration is often like an image's; null for an image
   */
  public record Parts(
      Descriptor config, List<Descriptor> layers, @Nullable ImageException otherContent) {}

  public static Parts parse(OciJson json, String mediaType, ImageLimits limits) {
    requireSchema(json);
    if (json.has("manifests")) {
      throw json.fault("manifests", "a manifest has layers, an index has manifests");
    }
    Descriptor config = Descriptor.parse(json.object("config"));
    if (!MediaTypes.isConfig(config.mediaType(), mediaType)) {
      // An artifact: its layers are no layers of a file system.
      return new Parts(config, List.of(), null);
    }
    List<Descriptor> layers = new ArrayList<>();
    for (OciJson layer : json.objects("layers")) {
      Descriptor descriptor = Descriptor.parse(layer);
      if (!MediaTypes.isLayer(descriptor.mediaType())) {
        return new Parts(
            config,
            List.of(),
            layer.fault(
                ImageException.Reason.UNSUPPORTED,
                "mediaType",
                "no known type of layer: " + descriptor.mediaType()));
      }
      layers.add(descriptor);
    }
    if (layers.size() > limits.layers()) {
      throw json.fault(
          ImageException.Reason.TOO_LARGE,
          "layers",
          layers.size() + " layers, more than the limit of " + limits.layers());
    }
    return new Parts(config, layers, null);
  }

  static void requireSchema(OciJson json) {
    long version = json.integer("schemaVersion");
    if (version == 1) {
      throw schema1();
    }
    if (version != 2) {
      throw json.fault(
          ImageException.Reason.UNSUPPORTED,
          "schemaVersion",
          "it is " + version + ", and only 2 is supported");
    }
  }

  static ImageException schema1() {
    return new ImageException(
        ImageException.Reason.UNSUPPORTED,
        "The image's manifest is of Docker's schema 1, from before Docker 1.10",
        "Push the image anew, or convert it, as with 'skopeo copy --format oci'.",
        null);
  }

  /**
   * An image.
   *
   * @param otherwise what it runs on, as far as its configuration does not say it
   */
  public static Manifest of(
      Descriptor descriptor, Parts parts, OciJson config, Platform otherwise) {
    List<Digest> diffIds = new ArrayList<>();
    OciJson rootfs = config.object("rootfs");
    if (!rootfs.string("type").equals("layers")) {
      throw rootfs.fault(ImageException.Reason.UNSUPPORTED, "type", "it is not 'layers'");
    }
    for (String diffId : rootfs.strings("diff_ids")) {
      try {
        diffIds.add(Digest.parse(diffId));
      } catch (IllegalArgumentException e) {
        throw rootfs.fault("diff_ids/" + diffIds.size(), String.valueOf(e.getMessage()));
      }
    }
    if (diffIds.size() != parts.layers.size()) {
      throw rootfs.fault(
          "diff_ids",
          diffIds.size() + " digests, for a manifest of " + parts.layers.size() + " layers");
    }
    return new Manifest(descriptor, parseConfig(config, otherwise), parts.layers, diffIds);
  }

  private static ImageConfig parseConfig(OciJson json, Platform otherwise) {
    Platform platform = Platforms.complete(Descriptor.parsePlatform(json), otherwise);
    OciJson config = json.optionalObject("config");
    if (config == null) {
      config = OciJson.EMPTY;
    }
    return ImageConfig.builder(platform)
        .environment(config.strings("Env"))
        .entrypoint(config.strings("Entrypoint"))
        .command(config.strings("Cmd"))
        .workingDirectory(config.optionalString("WorkingDir"))
        .user(config.optionalString("User"))
        .stopSignal(config.optionalString("StopSignal"))
        .labels(config.stringMap("Labels"))
        .exposedPorts(config.keys("ExposedPorts"))
        .volumes(config.keys("Volumes"))
        .build();
  }

  /**
   * The digest of the whole stack of layers ("Layer ChainID" of config.md): the same for the same
   * content, however it was compressed.
   */
  public Digest chainId() {
    return chainId(diffIds.size());
  }

  /** The digest of so many of the first layers. */
  public Digest chainId(int count) {
    if (count == 0) {
      return Digests.sha256("");
    }
    Digest chain = diffIds.get(0);
    for (Digest diffId : diffIds.subList(1, count)) {
      chain = Digests.sha256(chain + " " + diffId);
    }
    return chain;
  }
}
