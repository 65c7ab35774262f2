// SPDX-License-Identifier: Apache-2.0
/**
 * Writes ext4 filesystem images; a leaf that knows nothing of OCI.
 *
 * <p>{@link dev.nacelle.image.ext4.Ext4Writer} streams the content of files straight to their final
 * blocks and writes the metadata at the end:
 *
 * <pre>
 * block 0        superblock (and its copies, in the groups that sparse_super names)
 * block 1...     group descriptors, as many as the final size needs
 * ...            inode tables, where the unused rest of the room for descriptors holds them
 * block 1025...  content of files in the order in which it came
 * ...            directories, attribute blocks, extent trees, the other inode tables, bitmaps
 * </pre>
 *
 * <p>A finished image can be the beginning of another one: its metadata are read back, its content
 * is copied, and the new image writes metadata of its own.
 *
 * <p>Features: ext_attr, dir_index, filetype, extents, flex_bg (bitmaps and inode tables may be
 * anywhere), sparse_super, large_file, huge_file, dir_nlink, extra_isize; 4 KiB blocks, 256-byte
 * inodes; a journal only where it is asked for. Limits: 16 TiB for a filesystem and for a file,
 * 65,000 hard links, 4,095 bytes for the target of a symbolic link, one block of extended
 * attributes per inode (ea_inode, which has room for more, makes a filesystem that Linux mounts
 * since 4.13 only).
 */
@NullMarked
package dev.nacelle.image.ext4;

import org.jspecify.annotations.NullMarked;
