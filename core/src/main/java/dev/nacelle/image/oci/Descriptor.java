// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.oci;

import dev.nacelle.image.Digest;
import dev.nacelle.image.Platform;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Refers to a blob (descriptor.md of the OCI image specification).
 *
 * @param mediaType empty where it is absent, as old manifests of Docker may have it
 * @param size in bytes, not negative
 * @param platform of a manifest, if the index says so
 */
public record Descriptor(
    String mediaType,
    Digest digest,
    long size,
    @Nullable Platform platform,
    Map<String, String> annotations) {
  /** The annotation of {@link #refName}. */
  public static final String REF_NAME = "org.opencontainers.image.ref.name";

  public static Descriptor parse(OciJson json) {
    Digest digest;
    try {
      digest = Digest.parse(json.string("digest"));
    } catch (IllegalArgumentException e) {
      throw json.fault("digest", String.valueOf(e.getMessage()));
    }
    long size = json.integer("size");
    if (size < 0) {
      throw json.fault("size", "it is negative: " + size);
    }
    OciJson platform = json.optionalObject("platform");
    return new Descriptor(
        json.optionalString("mediaType"),
        digest,
        size,
        platform == null ? null : parsePlatform(platform),
        json.stringMap("annotations"));
  }

  /**
   * Of a descriptor or of a configuration, which has the same keys. "os.features" are mandatory,
   * and there are none that we have; so a system that needs some is another one.
   */
  static Platform parsePlatform(OciJson json) {
    List<String> features = json.strings("os.features");
    return Platform.of(
        json.optionalString("os")
            + (features.isEmpty() ? "" : "(+" + String.join("+", features) + ")"),
        json.optionalString("architecture"),
        json.optionalString("variant"));
  }

  /** The three members that every descriptor has. */
  public String toJson() {
    return "{\"mediaType\":%s,\"digest\":\"%s\",\"size\":%d}"
        .formatted(OciJson.quote(mediaType), digest, size);
  }

  /** What an image layout calls it; null where it has no name. */
  public @Nullable String refName() {
    return annotations.get(REF_NAME);
  }
}
