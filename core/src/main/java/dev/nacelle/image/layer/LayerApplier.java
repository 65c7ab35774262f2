// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.layer;

import dev.nacelle.ImageException;
import dev.nacelle.image.ext4.Directory;
import dev.nacelle.image.ext4.Ext4Writer;
import dev.nacelle.image.ext4.ExtendedAttributes;
import dev.nacelle.image.ext4.FileName;
import dev.nacelle.image.ext4.Inode;
import dev.nacelle.image.ext4.InodeAttributes;
import dev.nacelle.image.ext4.SpecialFile;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.tar.TarEntry;
import java.io.IOException;
import java.io.InputStream;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Applies layers to a tree, entry by entry ("Applying Changesets" and "Whiteouts" of layer.md in
 * the OCI image specification). Where the specification is silent it does as containerd and umoci
 * do: an absolute name begins at the image's root, as kaniko and Nix write them. But one with ".."
 * is an error.
 */
public final class LayerApplier implements LayerReader.Sink {
  private static final String WHITEOUT = ".wh.";
  private static final FileName OPAQUE = FileName.of(".wh..wh..opq");

  /** What AUFS kept for itself; engines pass over it. */
  private static final String AUFS = ".wh..wh.";

  /**
   * Where AUFS kept files that have several names in a layer: the layer's hard links lead there,
   * and the files are in no image.
   */
  private static final FileName AUFS_LINKS = FileName.of(AUFS + "plnk");

  /** What overlayfs keeps for itself: from an image it could only confuse the guest's overlay. */
  private static final String OVERLAY_XATTR = "trusted.overlay.";

  /** Of directories that a layer uses but does not name. */
  private static final InodeAttributes IMPLICIT_DIRECTORY =
      new InodeAttributes(0755, 0, 0, Instant.EPOCH);

  private final Ext4Writer writer;
  private final ImageLimits limits;
  private final TreePaths paths;

  /**
   * What the current layer wrote, and all directories above it: its whiteouts leave that alone. Not
   * kept for the first layer, which has nothing below it.
   */
  private final Set<Directory> upperDirectories = new HashSet<>();

  private final Map<Directory, Set<FileName>> upperFiles = new HashMap<>();

  /**
   * Directories that nothing of lower layers is left in: a layer of opaque marks alone must not
   * have them searched again for each.
   */
  private final Set<Directory> cleared = new HashSet<>();

  /** An image whose files all have a label has a few of them, on as many files as there are. */
  private final Map<ExtendedAttributes, ExtendedAttributes> knownAttributes = new HashMap<>();

  private boolean firstLayer;
  private long entries;
  private long metadataBytes;
  private long sparseBytes;

  public LayerApplier(Ext4Writer writer, ImageLimits limits) {
    this.writer = writer;
    this.limits = limits;
    this.firstLayer = writer.root().names().isEmpty();
    this.paths = new TreePaths(writer.root(), this::makeImplicitDirectory);
  }

  @Override
  public void endLayer() {
    writer.remove(writer.root(), AUFS_LINKS);
    firstLayer = false;
    upperDirectories.clear();
    upperFiles.clear();
    cleared.clear();
  }

  /**
   * Applies an entry.
   *
   * @throws IllegalArgumentException when the entry cannot be, saying why
   * @throws dev.nacelle.image.ext4.Ext4LimitException when it is more than ext4 can hold
   */
  @Override
  public void apply(TarEntry entry, InputStream content) throws IOException {
    requireWithinLimits(entry);
    List<FileName> path = TreePaths.split(entry.path());
    if (path.isEmpty()) {
      if (entry.type() != TarEntry.Type.DIRECTORY) {
        throw new IllegalArgumentException("the root of an image must be a directory");
      }
      writer.setAttributes(writer.root(), attributes(entry));
      return;
    }
    FileName name = path.get(path.size() - 1);
    List<FileName> parents = path.subList(0, path.size() - 1);
    boolean aufsLink =
        parents.equals(List.of(AUFS_LINKS)) && entry.type() != TarEntry.Type.DIRECTORY;
    if (!aufsLink && parents.stream().anyMatch(parent -> parent.startsWith(AUFS))) {
      return;
    }
    if (name.startsWith(WHITEOUT)) {
      applyWhiteout(parents, name);
      return;
    }
    Directory parent = paths.resolve(parents, true);
    if (parent == null) {
      throw new IllegalArgumentException("a parent of it is not a directory");
    }
    Inode inode = put(parent, name, entry, content);
    if (!firstLayer) {
      markUpper(parent, name, inode);
    }
  }

  private void requireWithinLimits(TarEntry entry) {
    requirePathWithinLimit(entry.path());
    requirePathWithinLimit(entry.linkTarget());
    // A range of a sparse file takes an extent of 12 bytes.
    metadataBytes += entry.path().length + entry.linkTarget().length + 12L * entry.data().size();
    entry.xattrs().forEach((key, value) -> metadataBytes += key.length() + value.length);
    if (metadataBytes > limits.metadataSize().bytes()) {
      throw new ImageException(
          ImageException.Reason.TOO_LARGE,
          "The image has more names, links and attributes than the limit of "
              + limits.metadataSize(),
          "Raise metadataSize of the ImageLimits, if it may be that large.",
          null);
    }
    requireDenseEnough(entry);
    countEntry();
  }

  /** A byte between two holes takes a block of the filesystem, however little of the archive. */
  private void requireDenseEnough(TarEntry entry) {
    if (entry.data().size() > 1) {
      sparseBytes += entry.data().size() * 4096L;
      if (sparseBytes > limits.unpackedSize().bytes()) {
        throw new ImageException(
            ImageException.Reason.TOO_LARGE,
            "The sparse files of the image take more than the limit of " + limits.unpackedSize(),
            "Raise unpackedSize of the ImageLimits, if it may be that large.",
            null);
      }
    }
  }

  private void requirePathWithinLimit(byte[] path) {
    if (path.length > limits.pathBytes()) {
      throw new LayerReader.LimitException(
          "a path has " + path.length + " bytes, more than the limit of " + limits.pathBytes());
    }
  }

  private void countEntry() {
    if (++entries > limits.entries()) {
      throw new ImageException(
          ImageException.Reason.TOO_LARGE,
          "The image has more entries than the limit of " + limits.entries(),
          "Raise entries of the ImageLimits, if it may be that large.",
          null);
    }
  }

  private Directory makeImplicitDirectory(Directory parent, FileName name) {
    countEntry();
    return writer.createDirectory(parent, name, IMPLICIT_DIRECTORY);
  }

  private Inode put(Directory parent, FileName name, TarEntry entry, InputStream content)
      throws IOException {
    Inode there = parent.get(name);
    if (entry.type() == TarEntry.Type.DIRECTORY && there instanceof Directory) {
      writer.setAttributes(there, attributes(entry));
      return there;
    }
    InodeAttributes attributes = attributes(entry);
    writer.remove(parent, name);
    return switch (entry.type()) {
      case DIRECTORY -> writer.createDirectory(parent, name, attributes);
      case REGULAR_FILE ->
          writer.createSparseFile(parent, name, attributes, entry.size(), entry.data(), content);
      case HARD_LINK -> putHardLink(parent, name, entry.linkTarget());
      case SYMBOLIC_LINK -> writer.createSymbolicLink(parent, name, attributes, entry.linkTarget());
      case CHARACTER_DEVICE ->
          putSpecial(parent, name, entry, attributes, SpecialFile.Type.CHARACTER_DEVICE);
      case BLOCK_DEVICE ->
          putSpecial(parent, name, entry, attributes, SpecialFile.Type.BLOCK_DEVICE);
      case FIFO -> putSpecial(parent, name, entry, attributes, SpecialFile.Type.FIFO);
    };
  }

  /**
   * The target is a path from the root of the image, with or without a leading slash. A symbolic
   * link is linked to, not followed.
   */
  private Inode putHardLink(Directory parent, FileName name, byte[] target) throws IOException {
    List<FileName> path = TreePaths.split(target);
    Inode inode = null;
    if (!path.isEmpty()) {
      Directory directory = paths.resolve(path.subList(0, path.size() - 1), false);
      inode = directory == null ? null : directory.get(path.get(path.size() - 1));
    }
    if (inode == null || inode instanceof Directory) {
      throw new IllegalArgumentException(
          "it is a hard link to '"
              + FileName.printable(target)
              + (inode == null ? "', which is not there" : "', a directory"));
    }
    writer.link(parent, name, inode);
    return inode;
  }

  private Inode putSpecial(
      Directory parent,
      FileName name,
      TarEntry entry,
      InodeAttributes attributes,
      SpecialFile.Type type) {
    int major = (int) Math.min(entry.major(), Integer.MAX_VALUE);
    int minor = (int) Math.min(entry.minor(), Integer.MAX_VALUE);
    return writer.createSpecialFile(parent, name, attributes, type, major, minor);
  }

  private InodeAttributes attributes(TarEntry entry) {
    Map<String, byte[]> xattrs = new HashMap<>(entry.xattrs());
    // Engines pass over what the kernel would not take, too: other systems' attributes.
    xattrs
        .keySet()
        .removeIf(key -> !ExtendedAttributes.isSupported(key) || key.startsWith(OVERLAY_XATTR));
    return new InodeAttributes(
        entry.permissions(),
        entry.uid(),
        entry.gid(),
        entry.modified(),
        knownAttributes.computeIfAbsent(ExtendedAttributes.of(xattrs), same -> same));
  }

  private void applyWhiteout(List<FileName> parents, FileName name) {
    boolean opaque = name.equals(OPAQUE);
    if (!opaque && name.startsWith(AUFS)) {
      return;
    }
    byte[] bytes = name.toBytes();
    FileName target =
        opaque ? OPAQUE : FileName.of(Arrays.copyOfRange(bytes, WHITEOUT.length(), bytes.length));
    Directory directory = paths.resolve(parents, false);
    if (firstLayer || directory == null) {
      return;
    }
    Inode there = directory.get(target);
    if (opaque) {
      removeLower(directory);
    } else if (there != null && !isUpper(directory, target, there)) {
      writer.remove(directory, target);
    } else if (there instanceof Directory both) {
      removeLower(both);
    }
  }

  /** Removes all that lower layers have below a directory. */
  private void removeLower(Directory top) {
    Deque<Directory> pending = new ArrayDeque<>();
    pending.push(top);
    while (!pending.isEmpty()) {
      Directory directory = pending.pop();
      if (!cleared.add(directory)) {
        continue;
      }
      for (FileName name : new ArrayList<>(directory.names())) {
        Inode inode = directory.get(name);
        if (inode != null && !isUpper(directory, name, inode)) {
          writer.remove(directory, name);
        } else if (inode instanceof Directory child) {
          pending.push(child);
        }
      }
    }
  }

  private boolean isUpper(Directory parent, FileName name, Inode inode) {
    return inode instanceof Directory directory
        ? upperDirectories.contains(directory)
        : upperFiles.getOrDefault(parent, Set.of()).contains(name);
  }

  private void markUpper(Directory parent, FileName name, Inode inode) {
    if (inode instanceof Directory directory) {
      upperDirectories.add(directory);
    } else {
      upperFiles.computeIfAbsent(parent, p -> new HashSet<>()).add(name);
    }
    for (Directory up = parent; upperDirectories.add(up); ) {
      up = up.parent();
    }
  }
}
