// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A directory; its entries are changed through the {@link Ext4Writer}. */
public final class Directory extends Inode {
  private final @Nullable Directory parent;

  /** Made with the first entry: half of a tree's directories in a big image may be empty. */
  private @Nullable Map<FileName, Inode> children;

  int subdirectories;

  /** Blocks of the directory's own content, and whether they have an index. */
  long blocks;

  boolean indexed;

  Directory(@Nullable Directory parent, InodeAttributes attributes) {
    super(attributes);
    this.parent = parent;
  }

  /** The directory that holds this one; the root's is itself. */
  public Directory parent() {
    return parent == null ? this : parent;
  }

  /** The entry of that name, or null. */
  public @Nullable Inode get(FileName name) {
    return children == null ? null : children.get(name);
  }

  /** The names in no particular order; a live view, which must not be walked while it changes. */
  public Collection<FileName> names() {
    return Collections.unmodifiableCollection(entries().keySet());
  }

  Map<FileName, Inode> entries() {
    return children == null ? Map.of() : children;
  }

  void put(FileName name, Inode inode) {
    if (children == null) {
      children = new HashMap<>(4);
    }
    children.put(name, inode);
    if (inode instanceof Directory) {
      subdirectories++;
    }
  }

  @Nullable Inode take(FileName name) {
    Inode inode = children == null ? null : children.remove(name);
    if (inode instanceof Directory) {
      subdirectories--;
    }
    return inode;
  }

  @Override
  void forgetPlaces() {
    super.forgetPlaces();
    extents = NO_EXTENTS;
    blocks = 0;
    indexed = false;
  }

  @Override
  int typeBits() {
    return Ext4Format.S_IFDIR;
  }

  @Override
  int directoryEntryType() {
    return 2;
  }

  @Override
  long size() {
    return blocks * Ext4Format.BLOCK_SIZE;
  }
}
