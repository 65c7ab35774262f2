// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.oci;

import java.util.Set;

/**
 * What blobs are: media-types.md of the OCI image specification, and Docker's "Image Manifest
 * Version 2, Schema 2", which it calls compatible.
 */
public final class MediaTypes {
  private static final String OCI = "application/vnd.oci.image.";
  private static final String DOCKER = "application/vnd.docker.";

  public static final String INDEX = OCI + "index.v1+json";
  public static final String MANIFEST = OCI + "manifest.v1+json";
  public static final String CONFIG = OCI + "config.v1+json";

  /** Docker's "Image Manifest Version 2, Schema 1". */
  public static final String SCHEMA_1 = DOCKER + "distribution.manifest.v1+json";

  /** A layer that is not compressed. */
  public static final String LAYER = OCI + "layer.v1.tar";

  private static final Set<String> OLD_CONFIGS =
      Set.of("application/octet-stream", "application/json", "text/html", "");

  private MediaTypes() {}

  public static boolean isIndex(String type) {
    return type.equals(INDEX) || type.equals(DOCKER + "distribution.manifest.list.v2+json");
  }

  public static boolean isManifest(String type) {
    return type.equals(MANIFEST) || type.equals(DOCKER + "distribution.manifest.v2+json");
  }

  /**
   * Docker's manifests may also say what old registries and tools made of the type (docker/docker
   * issues 22378 and 30083): moby's distribution.ImageTypes.
   */
  static boolean isConfig(String type, String manifestType) {
    return type.equals(CONFIG)
        || type.equals(DOCKER + "container.image.v1+json")
        || (manifestType.startsWith(DOCKER) && OLD_CONFIGS.contains(type));
  }

  /** Signed or not. */
  static boolean isSchema1(String type) {
    return type.equals(SCHEMA_1) || type.equals(DOCKER + "distribution.manifest.v1+prettyjws");
  }

  /** "Non-distributable" layers, as Docker's are "foreign": a registry need not have them. */
  public static boolean isForeign(String type) {
    return type.startsWith(OCI + "layer.nondistributable.")
        || type.startsWith(DOCKER + "image.rootfs.foreign.");
  }

  /** Foreign ones count, as layer.md wants it. */
  static boolean isLayer(String type) {
    String rest;
    if (type.startsWith(OCI + "layer.")) {
      rest = type.substring((OCI + "layer.").length()).replace("nondistributable.", "");
      return rest.equals("v1.tar") || rest.equals("v1.tar+gzip") || rest.equals("v1.tar+zstd");
    }
    if (type.startsWith(DOCKER + "image.rootfs.")) {
      rest = type.substring((DOCKER + "image.rootfs.").length()).replace("foreign.", "");
      return rest.equals("diff.tar")
          || rest.equals("diff.tar.gzip")
          || rest.equals("diff.tar.zstd");
    }
    return false;
  }
}
