// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static java.nio.charset.StandardCharsets.UTF_16LE;

import dev.nacelle.hyperv.sys.Guid;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.NonReadableChannelException;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.zip.CRC32C;

/**
 * Writes a dynamic VHDX ([MS-VHDX]): a disk of zeros, of which the file has the blocks that were
 * written to, and gets more as the guest writes. A file of the disk's size would have to be filled
 * with zeros first, since Hyper-V takes sparse ones from Windows 11 on only, and what was deleted
 * on the host's disk is not for a guest to read.
 *
 * <pre>
 * 0       identifier, two headers, two tables of regions: 64 KiB each
 * 1 MiB   log, empty
 * 2 MiB   metadata: the disk's size, and its blocks'
 * 3 MiB   block allocation table (BAT)
 * ...     blocks, in the order in which they were first written to
 * </pre>
 *
 * <p>Used by one thread. The file is a disk once this is closed.
 */
final class DynamicVhdx implements SeekableByteChannel {
  /** Of file names. */
  static final String EXTENSION = "vhdx";

  /** The most that a VHDX has: 64 TiB (section 2.6.2.2). */
  static final long MAX_SIZE = 64L << 40;

  private static final int MIB = 1 << 20;

  /** Where regions begin is a multiple of it (section 2.2.3.2). */
  private static final int STEP = 64 << 10;

  // Section 2.2: what is where
  private static final int[] HEADERS = {STEP, 2 * STEP};
  private static final int[] REGION_TABLES = {3 * STEP, 4 * STEP};
  private static final int HEADER_SIZE = 4 << 10;
  private static final int LOG = MIB;
  private static final int METADATA = 2 * MIB;
  private static final int BAT = 3 * MIB;

  private static final UUID BAT_REGION = UUID.fromString("2dc27766-f623-4200-9d64-115e9bfd4a08");
  private static final UUID METADATA_REGION =
      UUID.fromString("8b7ca206-4790-4b9a-b8fe-575f050f886e");

  // Section 2.6.2: what there is to know of the disk
  private static final UUID FILE_PARAMETERS =
      UUID.fromString("caa16737-fa36-4d43-b3b6-33f0aa44e76b");
  private static final UUID DISK_SIZE = UUID.fromString("2fa54224-cd1b-4876-b211-5dbed83bf4b8");
  private static final UUID DISK_ID = UUID.fromString("beca12ab-b2e6-4523-93ef-c309e000c746");
  private static final UUID LOGICAL_SECTOR =
      UUID.fromString("8141bf1d-a96f-4709-ba47-f233a8faab5f");
  private static final UUID PHYSICAL_SECTOR =
      UUID.fromString("cda348c7-445d-4471-9cc9-e9885251c556");

  private static final int IS_REQUIRED = 4;
  private static final int OF_DISK = IS_REQUIRED | 2;

  private static final int SECTOR = 512;
  private static final int PAGE = 4096;

  /** Sectors that a block of the bitmap, which only differencing disks have, stands for. */
  private static final long CHUNK_SECTORS = 1L << 23;

  /** PAYLOAD_BLOCK_FULLY_PRESENT. */
  private static final int PRESENT = 6;

  /** Blocks are of 1 MiB, as small as can be, but for disks that would have more than that. */
  private static final int MOST_BLOCKS = 4 << 20;

  private final FileChannel file;
  private final long size;
  private final int blockSize;
  private final long firstBlock;

  /** Where in the file the blocks are that were written to, by number. */
  private final Map<Long, Long> blocks = new TreeMap<>();

  private long position;

  private DynamicVhdx(FileChannel file, long size) {
    this.file = file;
    this.size = size;
    int block = MIB;
    while (size / block > MOST_BLOCKS) {
      block *= 2;
    }
    blockSize = block;
    long entries = entry((size - 1) / blockSize) + 1;
    firstBlock = BAT + roundUp(entries * Long.BYTES, MIB);
  }

  /**
   * Begins a disk.
   *
   * @param file is there, and empty
   * @param size of the disk in bytes, a multiple of 4096
   * @throws IllegalArgumentException when there is no VHDX of that size
   */
  static DynamicVhdx create(Path file, long size) throws IOException {
    if (size <= 0 || size % PAGE != 0 || size > MAX_SIZE) {
      throw new IllegalArgumentException("no VHDX has " + size + " bytes");
    }
    DynamicVhdx disk = new DynamicVhdx(FileChannel.open(file, StandardOpenOption.WRITE), size);
    try {
      disk.writeIdentifier();
      disk.writeHeaders();
      disk.writeRegionTables();
      disk.writeMetadata();
      return disk;
    } catch (IOException e) {
      disk.file.close();
      throw e;
    }
  }

  private static long roundUp(long bytes, int step) {
    return (bytes + step - 1) / step * step;
  }

  /** Of a block in the BAT: between those of chunks stands one for a block of the bitmap. */
  private long entry(long block) {
    return block + block / (CHUNK_SECTORS * SECTOR / blockSize);
  }

  private static ByteBuffer little(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private void write(ByteBuffer bytes, long at) throws IOException {
    while (bytes.hasRemaining()) {
      int ignored = file.write(bytes, at + bytes.position());
    }
  }

  /** Section 2.2.1. */
  private void writeIdentifier() throws IOException {
    ByteBuffer identifier = little(SECTOR);
    identifier.put("vhdxfile".getBytes(US_ASCII)).put("Nacelle".getBytes(UTF_16LE));
    write(identifier.rewind(), 0);
  }

  /** Section 2.2.2: the one of the higher sequence counts, and neither has a log to be replayed. */
  private void writeHeaders() throws IOException {
    UUID fileWrite = UUID.randomUUID();
    UUID dataWrite = UUID.randomUUID();
    for (int i = 0; i < HEADERS.length; i++) {
      ByteBuffer header = little(HEADER_SIZE);
      header.put("head".getBytes(US_ASCII));
      header.putLong(8, i + 1);
      Guid.put(header, 16, fileWrite);
      Guid.put(header, 32, dataWrite);
      header.putShort(66, (short) 1); // version; the log's is 0
      header.putInt(68, MIB);
      header.putLong(72, LOG);
      write(sealed(header), HEADERS[i]);
    }
  }

  /** Section 2.2.3. */
  private void writeRegionTables() throws IOException {
    ByteBuffer table = little(STEP);
    table.put("regi".getBytes(US_ASCII));
    table.putInt(8, 2);
    putRegion(table, 16, BAT_REGION, BAT, (int) (firstBlock - BAT));
    putRegion(table, 48, METADATA_REGION, METADATA, MIB);
    for (int at : REGION_TABLES) {
      write(sealed(table), at);
    }
  }

  private static void putRegion(ByteBuffer table, int at, UUID id, long offset, int length) {
    Guid.put(table, at, id);
    table.putLong(at + 16, offset);
    table.putInt(at + 24, length);
    table.putInt(at + 28, 1); // required
  }

  /** Puts the checksum in, of all of it with zeros where the checksum is. */
  private static ByteBuffer sealed(ByteBuffer structure) {
    structure.putInt(4, 0);
    CRC32C checksum = new CRC32C();
    checksum.update(structure.rewind());
    structure.putInt(4, (int) checksum.getValue());
    return structure.rewind();
  }

  /** Section 2.6: a table, and after 64 KiB what its entries point to. */
  private void writeMetadata() throws IOException {
    ByteBuffer items = little(STEP + 64);
    items.put("metadata".getBytes(US_ASCII));
    items.putShort(10, (short) 5);
    items.putInt(STEP, blockSize);
    putItem(items, 0, FILE_PARAMETERS, STEP, 8, IS_REQUIRED);
    items.putLong(STEP + 8, size);
    putItem(items, 1, DISK_SIZE, STEP + 8, 8, OF_DISK);
    Guid.put(items, STEP + 16, UUID.randomUUID());
    putItem(items, 2, DISK_ID, STEP + 16, 16, OF_DISK);
    items.putInt(STEP + 32, SECTOR);
    putItem(items, 3, LOGICAL_SECTOR, STEP + 32, 4, OF_DISK);
    items.putInt(STEP + 36, PAGE);
    putItem(items, 4, PHYSICAL_SECTOR, STEP + 36, 4, OF_DISK);
    write(items.rewind(), METADATA);
  }

  private static void putItem(
      ByteBuffer table, int number, UUID id, int offset, int length, int flags) {
    int at = 32 * (number + 1);
    Guid.put(table, at, id);
    table.putInt(at + 16, offset);
    table.putInt(at + 20, length);
    table.putInt(at + 24, flags);
  }

  /** Takes the part that fits into the block of the position. */
  @Override
  public int write(ByteBuffer source) throws IOException {
    long block = position / blockSize;
    int within = (int) (position % blockSize);
    int length = Math.min(source.remaining(), blockSize - within);
    if (length > size - position) {
      throw new IOException("the disk ends at " + size);
    }
    if (length == 0) {
      return 0;
    }
    long at =
        blocks.computeIfAbsent(block, b -> firstBlock + blocks.size() * (long) blockSize) + within;
    ByteBuffer part = source.duplicate();
    part.limit(part.position() + length);
    while (part.hasRemaining()) {
      at += file.write(part, at);
    }
    source.position(part.position());
    position += length;
    return length;
  }

  @Override
  public int read(ByteBuffer destination) {
    throw new NonReadableChannelException();
  }

  @Override
  public long position() {
    return position;
  }

  @Override
  public SeekableByteChannel position(long newPosition) {
    position = newPosition;
    return this;
  }

  /** Of the disk. */
  @Override
  public long size() {
    return size;
  }

  @Override
  public SeekableByteChannel truncate(long newSize) {
    throw new UnsupportedOperationException("a disk keeps its size");
  }

  @Override
  public boolean isOpen() {
    return file.isOpen();
  }

  /** Writes where the blocks are, and makes the file as long as they are. Idempotent. */
  @Override
  public void close() throws IOException {
    if (!isOpen()) {
      return;
    }
    try (file) {
      for (Map.Entry<Long, Long> block : blocks.entrySet()) {
        ByteBuffer entry = little(Long.BYTES).putLong(0, block.getValue() | PRESENT);
        write(entry, BAT + entry(block.getKey()) * Long.BYTES);
      }
      long end = firstBlock + blocks.size() * (long) blockSize;
      if (file.size() < end) {
        write(ByteBuffer.allocate(1), end - 1);
      }
    }
  }
}
