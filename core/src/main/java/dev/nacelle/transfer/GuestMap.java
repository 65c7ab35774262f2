// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import dev.nacelle.GuestIOException;
import dev.nacelle.image.ext4.DataRange;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/** Where a file of the guest has data, by the guest's word; in whole blocks of an archive. */
final class GuestMap {
  /** More than any file has; what is counted beside it does not overflow. */
  static final long MAX_SIZE = 1L << 62;

  /** As the contract has it. */
  private static final int MAX_RANGES = 1 << 16;

  /** GNU tar has each range begin with a block of the archive. */
  private static final int BLOCK = 512;

  private final List<DataRange> ranges = new ArrayList<>();
  private long end;
  private int told;

  /** Goes on by the lengths of holes and data in turn. */
  void add(List<Long> runs) throws IOException {
    told += runs.size() / 2;
    if (runs.size() % 2 != 0 || told > MAX_RANGES) {
      throw misbehaved();
    }
    for (int i = 0; i < runs.size(); i += 2) {
      long start = after(end, runs.get(i));
      end = after(start, runs.get(i + 1));
      if (end > start) {
        add(start & -BLOCK, (end + BLOCK - 1) & -BLOCK);
      }
    }
  }

  private static long after(long position, long length) throws IOException {
    if (length < 0 || length > MAX_SIZE - position) {
      throw misbehaved();
    }
    return position + length;
  }

  private void add(long start, long end) {
    int last = ranges.size() - 1;
    if (last >= 0 && ranges.get(last).end() >= start) {
      long before = ranges.get(last).offset();
      ranges.set(last, new DataRange(before, end - before));
    } else {
      ranges.add(new DataRange(start, end - start));
    }
  }

  /** In rising order, with holes in between, within the file's size. */
  List<DataRange> ranges(long size) throws IOException {
    if (end > size) {
      throw misbehaved();
    }
    int last = ranges.size() - 1;
    if (last >= 0 && ranges.get(last).end() > size) {
      long start = ranges.get(last).offset();
      ranges.set(last, new DataRange(start, size - start));
    }
    return ranges;
  }

  private static GuestIOException misbehaved() {
    return new GuestIOException("the guest told of data where the file cannot have any");
  }
}
