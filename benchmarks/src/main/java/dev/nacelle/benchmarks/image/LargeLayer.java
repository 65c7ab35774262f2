// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.image;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Locale;
import java.util.Random;
import java.util.zip.Deflater;
import java.util.zip.GZIPOutputStream;

/**
 * Makes an OCI layout with one layer of many files, tagged "tar", and the same layer packed by
 * gzip, tagged "gzip". Sizes of files are spread from nothing to four times the mean; content is
 * half noise and half text.
 */
final class LargeLayer {
  private static final String OCI = "application/vnd.oci.image.";
  private static final int BLOCK = 512;
  private static final int FILES_PER_DIRECTORY = 100;

  private final Path layout;

  private LargeLayer(Path layout) {
    this.layout = layout;
  }

  /**
   * @param arguments the layout's directory, how many files, and how many bytes in all
   */
  public static void main(String... arguments) throws IOException {
    int files = Integer.parseInt(arguments[1]);
    new LargeLayer(Path.of(arguments[0])).make(files, Long.parseLong(arguments[2]));
  }

  private void make(int files, long bytes) throws IOException {
    Files.createDirectories(layout.resolve("blobs/sha256"));
    Files.writeString(layout.resolve("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}");
    Path tar = layout.resolve("layer.tar");
    Path gzip = layout.resolve("layer.gz");
    MessageDigest tarDigest = sha256();
    MessageDigest gzipDigest = sha256();
    try (OutputStream plain =
            new DigestOutputStream(
                new BufferedOutputStream(Files.newOutputStream(tar), 1 << 16), tarDigest);
        OutputStream packed =
            new FastGzip(new DigestOutputStream(Files.newOutputStream(gzip), gzipDigest))) {
      writeTar(files, bytes, plain, packed);
    }
    String diffId = "sha256:" + HexFormat.of().formatHex(tarDigest.digest());
    String gzipId = "sha256:" + HexFormat.of().formatHex(gzipDigest.digest());
    String index =
        image("tar", move(tar, OCI + "layer.v1.tar", diffId), diffId)
            + ","
            + image("gzip", move(gzip, OCI + "layer.v1.tar+gzip", gzipId), diffId);
    Files.writeString(
        layout.resolve("index.json"), "{\"schemaVersion\":2,\"manifests\":[" + index + "]}");
  }

  /** The fastest level: what unpacking costs hardly depends on it. */
  private static final class FastGzip extends GZIPOutputStream {
    FastGzip(OutputStream out) throws IOException {
      super(out, 1 << 16);
      def.setLevel(Deflater.BEST_SPEED);
    }
  }

  private static void writeTar(int files, long bytes, OutputStream... outs) throws IOException {
    Random random = new Random(1);
    byte[] content = new byte[1 << 20];
    random.nextBytes(content);
    for (int i = 0; i < content.length; i++) {
      if ((i / 4096) % 2 == 0) {
        content[i] = (byte) "the quick brown fox jumps over the lazy dog\n".charAt(i % 44);
      }
    }
    long left = bytes;
    for (int file = 0; file < files; file++) {
      String directory = "data/" + file / FILES_PER_DIRECTORY + "/";
      if (file % FILES_PER_DIRECTORY == 0) {
        write(header('5', directory, 0), BLOCK, outs);
      }
      long mean = left / (files - file);
      long share = random.nextBoolean() ? random.nextLong(mean / 2 + 1) : mean + mean / 2;
      int size = (int) Math.min(file == files - 1 ? left : share, content.length / 2);
      left -= size;
      write(header('0', directory + "file-" + file, size), BLOCK, outs);
      int from = random.nextInt(content.length - size);
      write(Arrays.copyOfRange(content, from, from + size), size + (-size & BLOCK - 1), outs);
    }
    write(new byte[0], 2 * BLOCK, outs);
  }

  private static void write(byte[] bytes, int paddedTo, OutputStream... outs) throws IOException {
    for (OutputStream out : outs) {
      out.write(bytes);
      out.write(new byte[paddedTo - bytes.length]);
    }
  }

  private static byte[] header(char type, String name, long size) {
    ByteBuffer block = ByteBuffer.allocate(BLOCK);
    block.put(0, name.getBytes(StandardCharsets.US_ASCII));
    put(block, 100, "0000755");
    put(block, 108, "0000000");
    put(block, 116, "0000000");
    put(block, 124, String.format(Locale.ROOT, "%011o", size));
    put(block, 136, "14000000000");
    put(block, 148, "        ");
    block.put(156, (byte) type);
    put(block, 257, "ustar\00000");
    int sum = 0;
    for (byte b : block.array()) {
      sum += b & 0xFF;
    }
    put(block, 148, String.format(Locale.ROOT, "%06o\0", sum));
    return block.array();
  }

  private static void put(ByteBuffer block, int offset, String text) {
    block.put(offset, text.getBytes(StandardCharsets.US_ASCII));
  }

  private String image(String tag, String layer, String diffId) throws IOException {
    String config =
        blob(
            OCI + "config.v1+json",
            "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\""
                + diffId
                + "\"]}}");
    String manifest =
        blob(
            OCI + "manifest.v1+json",
            "{\"schemaVersion\":2,\"config\":" + config + ",\"layers\":[" + layer + "]}");
    return manifest.substring(0, manifest.length() - 1)
        + ",\"annotations\":{\"org.opencontainers.image.ref.name\":\""
        + tag
        + "\"}}";
  }

  private String blob(String type, String content) throws IOException {
    byte[] bytes = content.getBytes(StandardCharsets.UTF_8);
    Path file = Files.write(layout.resolve("document"), bytes);
    return move(file, type, "sha256:" + HexFormat.of().formatHex(sha256().digest(bytes)));
  }

  private String move(Path file, String type, String digest) throws IOException {
    Path blob = layout.resolve("blobs/" + digest.replace(':', '/'));
    Files.deleteIfExists(blob);
    Files.move(file, blob);
    return "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%d}"
        .formatted(type, digest, Files.size(blob));
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
