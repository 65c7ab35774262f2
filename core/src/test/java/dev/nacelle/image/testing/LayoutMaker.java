// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.testing;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Collectors;
import java.util.zip.GZIPOutputStream;

/** Makes OCI image layouts by hand, good ones and others. */
public final class LayoutMaker {
  public static final String OCI = "application/vnd.oci.image.";
  public static final String INDEX = OCI + "index.v1+json";
  public static final String MANIFEST = OCI + "manifest.v1+json";
  public static final String CONFIG = OCI + "config.v1+json";
  public static final String TAR = OCI + "layer.v1.tar";
  public static final String GZIP = OCI + "layer.v1.tar+gzip";

  private final Path directory;
  private final List<String> index = new ArrayList<>();

  /** A layer: its blob's descriptor as JSON, and its diffID. */
  public record Layer(String descriptor, String diffId) {}

  public LayoutMaker(Path directory) throws IOException {
    this.directory = directory;
    Files.createDirectories(directory.resolve("blobs"));
    Files.writeString(directory.resolve("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}");
    writeIndex();
  }

  public Path directory() {
    return directory;
  }

  public static String digest(byte[] bytes) {
    return digest("sha256", bytes);
  }

  public static String digest(String algorithm, byte[] bytes) {
    try {
      MessageDigest digest = MessageDigest.getInstance(algorithm.replace("sha", "SHA-"));
      return algorithm + ":" + HexFormat.of().formatHex(digest.digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError(e);
    }
  }

  public static byte[] gzip(byte[] bytes) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(out)) {
      gzip.write(bytes);
    }
    return out.toByteArray();
  }

  public static String descriptor(String mediaType, String digest, long size) {
    return "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%d}"
        .formatted(mediaType, digest, size);
  }

  /** A descriptor with one more member. */
  public static String with(String descriptor, String member) {
    return descriptor.substring(0, descriptor.length() - 1) + "," + member + "}";
  }

  public Path blobFile(String digest) {
    return directory.resolve("blobs").resolve(digest.replace(':', '/'));
  }

  /** Stores a blob and describes it. */
  public String blob(String mediaType, byte[] content) throws IOException {
    return blob(mediaType, "sha256", content);
  }

  public String blob(String mediaType, String algorithm, byte[] content) throws IOException {
    String digest = digest(algorithm, content);
    Files.createDirectories(blobFile(digest).getParent());
    Files.write(blobFile(digest), content);
    return descriptor(mediaType, digest, content.length);
  }

  public String blob(String mediaType, String content) throws IOException {
    return blob(mediaType, content.getBytes(StandardCharsets.UTF_8));
  }

  public Layer layer(String mediaType, byte[] blob, byte[] tar) throws IOException {
    return new Layer(blob(mediaType, blob), digest(tar));
  }

  public Layer gzipLayer(byte[] tar) throws IOException {
    return layer(GZIP, gzip(tar), tar);
  }

  public static String config(String platform, String config, List<Layer> layers) {
    String[] parts = platform.split("/", -1);
    return "{\"os\":\"%s\",\"architecture\":\"%s\",%s\"config\":%s,\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[%s]}}"
        .formatted(
            parts[0],
            parts[1],
            parts.length > 2 ? "\"variant\":\"" + parts[2] + "\"," : "",
            config,
            layers.stream().map(l -> "\"" + l.diffId + "\"").collect(Collectors.joining(",")));
  }

  public static String manifest(String config, List<Layer> layers) {
    return "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":%s,\"layers\":[%s]}"
        .formatted(
            MANIFEST,
            config,
            layers.stream().map(Layer::descriptor).collect(Collectors.joining(",")));
  }

  /** Stores manifest and configuration, and describes the manifest. */
  public String image(String platform, Layer... layers) throws IOException {
    String config = blob(CONFIG, config(platform, "{}", List.of(layers)));
    return blob(MANIFEST, manifest(config, List.of(layers)));
  }

  /** Puts a descriptor into the layout's index. */
  public LayoutMaker add(String descriptor) throws IOException {
    index.add(descriptor);
    writeIndex();
    return this;
  }

  public LayoutMaker tag(String descriptor, String tag) throws IOException {
    return add(
        with(
            descriptor, "\"annotations\":{\"org.opencontainers.image.ref.name\":\"" + tag + "\"}"));
  }

  /** Stores an index and describes it. */
  public String index(String... descriptors) throws IOException {
    return blob(
        INDEX, "{\"schemaVersion\":2,\"manifests\":[" + String.join(",", descriptors) + "]}");
  }

  private void writeIndex() throws IOException {
    Files.writeString(
        directory.resolve("index.json"),
        "{\"schemaVersion\":2,\"manifests\":[" + String.join(",", index) + "]}");
  }
}
