// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.origin;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.nacelle.ImageException;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.oci.Descriptor;
import dev.nacelle.image.oci.Digests;
import dev.nacelle.image.oci.ImageResolver;
import dev.nacelle.image.oci.MediaTypes;
import java.io.ByteArrayInputStream;
import java.io.FilterInputStream;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.apache.commons.compress.archivers.tar.TarConstants;

/**
 * A directory that is a root filesystem, as an image of one layer which says nothing of processes.
 * It is read once, when it is opened, in the order of names: what is the same has the same digest.
 * Owners, modes, times, links, devices and holes' content are kept; sockets are left out, as tar(1)
 * does.
 */
public final class RootDirectory implements ImageOrigin {
  private final ImageRef ref;
  private final FileChannel layer;
  private final Descriptor layerDescriptor;
  private final byte[] config;
  private final byte[] manifest;

  private RootDirectory(ImageRef ref, FileChannel layer) throws IOException {
    this.ref = ref;
    this.layer = layer;
    Digest diffId = Digests.of(Digest.Algorithm.SHA256, content());
    layerDescriptor = new Descriptor(MediaTypes.LAYER, diffId, layer.size(), null, Map.of());
    config =
        ("{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},"
                + "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\"]}}")
            .formatted(diffId)
            .getBytes(UTF_8);
    manifest =
        "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":%s,\"layers\":[%s]}"
            .formatted(
                MediaTypes.MANIFEST,
                descriptor(MediaTypes.CONFIG, config).toJson(),
                layerDescriptor.toJson())
            .getBytes(UTF_8);
  }

  /**
   * The directory that a reference names.
   *
   * @param scratch a directory for a file as large as its content, until this is closed
   * @throws ImageException when it is none, or cannot be read
   */
  public static RootDirectory open(ImageRef ref, Path scratch) throws IOException {
    Path root = ref.path().orElseThrow();
    if (!Files.isDirectory(root)) {
      throw new ImageException(
          ImageException.Reason.NOT_FOUND,
          (Files.exists(root) ? "No directory: " : "No such directory: ") + root.toAbsolutePath(),
          "Write the directory of a root filesystem.",
          null);
    }
    if (!root.getFileSystem().supportedFileAttributeViews().contains("unix")) {
      throw new ImageException(
          ImageException.Reason.UNSUPPORTED,
          "Files of this system have no owners, modes and devices of Linux: " + root,
          "Write an OCI image, as oci:DIRECTORY or oci-archive:FILE.",
          null);
    }
    Files.createDirectories(scratch);
    FileChannel file =
        FileChannel.open(
            scratch.resolve("root-" + UUID.randomUUID()),
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.READ,
            StandardOpenOption.WRITE,
            StandardOpenOption.DELETE_ON_CLOSE);
    try {
      pack(root, file);
      return new RootDirectory(ref, file);
    } catch (Throwable e) {
      file.close();
      throw e;
    }
  }

  private static void pack(Path root, FileChannel file) throws IOException {
    OutputStream kept =
        new FilterOutputStream(Channels.newOutputStream(file)) {
          @Override
          public void write(byte[] bytes, int from, int length) throws IOException {
            out.write(bytes, from, length);
          }

          @Override
          public void close() throws IOException {
            flush();
          }
        };
    try (TarArchiveOutputStream tar = new TarArchiveOutputStream(kept, UTF_8.name())) {
      tar.setLongFileMode(TarArchiveOutputStream.LONGFILE_POSIX);
      tar.setBigNumberMode(TarArchiveOutputStream.BIGNUMBER_POSIX);
      tar.setAddPaxHeadersForNonAsciiNames(true);
      new Packer(root, tar).directory(root);
      tar.finish();
    }
  }

  /** Walks a tree in the order of names, and never through a link. */
  private static final class Packer {
    private final Path root;
    private final TarArchiveOutputStream tar;

    /** Names of files with several, by what tells a file from others. */
    private final Map<Object, String> linked = new HashMap<>();

    Packer(Path root, TarArchiveOutputStream tar) {
      this.root = root;
      this.tar = tar;
    }

    void directory(Path directory) throws IOException {
      add(directory);
      List<Path> children = new ArrayList<>();
      try (var stream = Files.newDirectoryStream(directory)) {
        stream.forEach(children::add);
      }
      children.sort((one, other) -> one.toString().compareTo(other.toString()));
      for (Path child : children) {
        if (Files.isDirectory(child, LinkOption.NOFOLLOW_LINKS)) {
          directory(child);
        } else {
          add(child);
        }
      }
    }

    private void add(Path path) throws IOException {
      // S_IFMT and its values of linux/stat.h.
      Map<String, Object> attributes =
          Files.readAttributes(path, "unix:*", LinkOption.NOFOLLOW_LINKS);
      int mode = (int) number(attributes, "mode");
      String name = path.equals(root) ? "./" : root.relativize(path).toString();
      // What Java makes of bytes that are no UTF-8, and cannot be made bytes again.
      if (name.indexOf('\ufffd') >= 0) {
        throw new ImageException(
            ImageException.Reason.UNSUPPORTED,
            "The directory " + root + " has a file whose name is not UTF-8: " + name,
            "Rename it, or pack the directory as an image.",
            null);
      }
      byte type =
          switch (mode & 0170000) {
            case 0040000 -> TarConstants.LF_DIR;
            case 0120000 -> TarConstants.LF_SYMLINK;
            case 0020000 -> TarConstants.LF_CHR;
            case 0060000 -> TarConstants.LF_BLK;
            case 0010000 -> TarConstants.LF_FIFO;
            case 0140000 -> 0; // a socket
            default -> TarConstants.LF_NORMAL;
          };
      if (type == 0) {
        return;
      }
      boolean hasSeveralNames = type != TarConstants.LF_DIR && number(attributes, "nlink") > 1;
      Object file = List.of(attributes.get("dev"), attributes.get("ino"));
      String first = hasSeveralNames ? linked.putIfAbsent(file, name) : null;
      TarArchiveEntry entry =
          new TarArchiveEntry(
              type == TarConstants.LF_DIR && !name.endsWith("/") ? name + "/" : name,
              first != null ? TarConstants.LF_LINK : type,
              true);
      entry.setMode(mode & 07777);
      entry.setUserId(number(attributes, "uid") & 0xffff_ffffL);
      entry.setGroupId(number(attributes, "gid") & 0xffff_ffffL);
      entry.setModTime((FileTime) attributes.get("lastModifiedTime"));
      if (first != null) {
        entry.setLinkName(first);
      } else if (type == TarConstants.LF_SYMLINK) {
        entry.setLinkName(Files.readSymbolicLink(path).toString());
      } else if (type == TarConstants.LF_CHR || type == TarConstants.LF_BLK) {
        long device = number(attributes, "rdev");
        entry.setDevMajor((int) (device >>> 8 & 0xfff));
        entry.setDevMinor((int) (device & 0xff | device >>> 12 & 0xfff00));
      } else if (type == TarConstants.LF_NORMAL) {
        entry.setSize(number(attributes, "size"));
      }
      tar.putArchiveEntry(entry);
      if (entry.getSize() > 0) {
        Files.copy(path, tar);
      }
      tar.closeArchiveEntry();
    }
  }

  private static long number(Map<String, Object> attributes, String name) {
    return ((Number) Objects.requireNonNull(attributes.get(name))).longValue();
  }

  private static Descriptor descriptor(String type, byte[] content) {
    return new Descriptor(type, Digests.sha256(content), content.length, null, Map.of());
  }

  @Override
  public List<Descriptor> roots(ImageResolver resolver) {
    Descriptor root = descriptor(MediaTypes.MANIFEST, manifest);
    if (!ref.digest().map(root.digest()::equals).orElse(true)) {
      throw new ImageException(
          ImageException.Reason.NOT_FOUND,
          "The directory of " + ref + " has changed: it is " + root.digest() + " now",
          "Take the digest away, or bring back what was there.",
          null);
    }
    return List.of(root);
  }

  @Override
  public InputStream open(Descriptor blob) throws IOException {
    if (blob.digest().equals(layerDescriptor.digest())) {
      return content();
    }
    return new ByteArrayInputStream(
        blob.digest().equals(Digests.sha256(config)) ? config : manifest);
  }

  private InputStream content() throws IOException {
    layer.position(0);
    InputStream in = Channels.newInputStream(layer);
    // The channel is this origin's to close.
    return new FilterInputStream(in) {
      @Override
      public void close() {}
    };
  }

  @Override
  public void close() throws IOException {
    layer.close();
  }
}
