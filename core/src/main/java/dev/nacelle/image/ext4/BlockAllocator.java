// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import static dev.nacelle.image.ext4.Ext4Format.BLOCKS_PER_GROUP;
import static dev.nacelle.image.ext4.Ext4Format.MAX_BLOCKS;

import dev.nacelle.image.ext4.FreeRuns.Run;
import java.io.IOException;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Hands out blocks in rising order, reusing freed ones, while nobody knows yet how large the
 * filesystem will be.
 *
 * <p>The superblock and its copies stand at known places, each followed by the group descriptors,
 * whose number depends on the final size. So until {@link #settle} room for the largest possible
 * descriptor table stays free behind each of them: 4 MiB that are a hole in the image file.
 */
final class BlockAllocator {
  /** Freed blocks: may hold old bytes in the image file. */
  private final FreeRuns recycled = new FreeRuns();

  /** Free blocks below {@link #next} that were never written. */
  private final FreeRuns clean = new FreeRuns();

  /** Free blocks that keep what they hold, for checkpoints. */
  private final FreeRuns kept = new FreeRuns();

  /** Below it, blocks that are freed are kept: the end of the last checkpoint. */
  private long keptEnd;

  /** What was handed out since a checkpoint began. */
  private @Nullable List<Run> checkpoint;

  private int descriptorBlocks = Ext4Format.MAX_DESCRIPTOR_BLOCKS;

  /** No block from here on was handed out. */
  private long next;

  /** How many blocks were handed out or taken so far, those that are free again included. */
  private long handedOut;

  /** The next place of a superblock's copy, or the end of the largest filesystem. */
  private long barrier;

  BlockAllocator() {
    passBarrier();
  }

  long next() {
    return next;
  }

  long handedOut() {
    return handedOut;
  }

  /**
   * One run of 1 to {@code max} blocks; fewer than {@code max} only if they would not be in one.
   */
  Run allocate(long max) throws Ext4LimitException {
    Run run = recycled.take(max);
    if (run == null) {
      run = clean.take(max);
    }
    return handOut(run != null ? run : bump(Math.min(max, roomAtNext())));
  }

  private Run handOut(Run run) {
    handedOut += run.length();
    if (checkpoint != null) {
      checkpoint.add(run);
    }
    return run;
  }

  /** One run of exactly that length, of blocks that were never written: they read as zeros. */
  Run allocateClean(long length) throws Ext4LimitException {
    Run run = clean.take(length);
    if (run != null) {
      return handOut(run);
    }
    while (roomAtNext() > 0 && roomAtNext() < length) {
      clean.add(bump(roomAtNext()));
    }
    return handOut(bump(length));
  }

  /** What is handed out from here on is the checkpoint's. */
  void beginCheckpoint() {
    checkpoint = new ArrayList<>();
  }

  /** Keeps the checkpoint, and all that is in use besides: free or not, it is not used again. */
  void endCheckpoint() {
    if (checkpoint != null) {
      checkpoint.forEach(kept::add);
      checkpoint = null;
    }
    keptEnd = next;
  }

  /**
   * Takes a run that is in use from before anything was handed out. Runs come in rising order.
   *
   * @throws Ext4ImageException when it overlaps the one before or what is kept free
   */
  void take(Run run) throws IOException {
    while (next < run.start()) {
      clean.add(bump(Math.min(run.start() - next, roomAtNext())));
    }
    if (next != run.start() || roomAtNext() < run.length()) {
      throw new Ext4ImageException("a file has blocks that are not its own");
    }
    bump(run.length());
    handedOut += run.length();
  }

  void free(Run run) {
    long end = Math.max(run.start(), Math.min(run.end(), keptEnd));
    kept.add(new Run(run.start(), end - run.start()));
    recycled.add(new Run(end, run.end() - end));
  }

  /** Says how many blocks of descriptors there really are, which frees the rest of their room. */
  void settle(int actualDescriptorBlocks) {
    long groups = Ext4Format.ceilDiv(next, BLOCKS_PER_GROUP);
    for (long group = 0; group < groups; group++) {
      if (Ext4Format.hasSuperblock(group)) {
        long start = group * BLOCKS_PER_GROUP + 1 + actualDescriptorBlocks;
        clean.add(new Run(start, descriptorBlocks - actualDescriptorBlocks));
      }
    }
    descriptorBlocks = actualDescriptorBlocks;
  }

  /** How many blocks can still be handed out in one run from {@link #next}. */
  private long roomAtNext() {
    return barrier - next;
  }

  private Run bump(long length) throws Ext4LimitException {
    if (length == 0) {
      throw new Ext4LimitException("the filesystem would be larger than 16 TiB");
    }
    Run run = new Run(next, length);
    next += length;
    if (next == barrier && next < MAX_BLOCKS) {
      passBarrier();
    }
    return run;
  }

  private void passBarrier() {
    long group = barrier / BLOCKS_PER_GROUP + 1;
    next = barrier + 1 + descriptorBlocks;
    while (!Ext4Format.hasSuperblock(group) && group * BLOCKS_PER_GROUP < MAX_BLOCKS) {
      group++;
    }
    barrier = group * BLOCKS_PER_GROUP;
  }

  /** Whether a group holds nothing but, perhaps, a copy of the superblock and the descriptors. */
  boolean isUntouched(long group) {
    return group * BLOCKS_PER_GROUP >= next;
  }

  /** The block bitmap of a group: set bits are blocks in use. */
  BitSet usedBlocks(long group) {
    long first = group * BLOCKS_PER_GROUP;
    long end = first + BLOCKS_PER_GROUP;
    BitSet used = new BitSet(BLOCKS_PER_GROUP);
    used.set(0, (int) Math.max(0, Math.min(next, end) - first));
    clear(used, recycled, first, end);
    clear(used, clean, first, end);
    clear(used, kept, first, end);
    if (Ext4Format.hasSuperblock(group)) {
      used.set(0, 1 + descriptorBlocks);
    }
    return used;
  }

  private static void clear(BitSet used, FreeRuns free, long first, long end) {
    free.overlapping(first, end)
        .forEach(
            (start, length) -> {
              long from = Math.max(start, first);
              long to = Math.min(start + length, end);
              if (from < to) {
                used.clear((int) (from - first), (int) (to - first));
              }
            });
  }
}
