// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.KernelException;
import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * The real-mode setup header of an x86 bzImage, which says where the compressed kernel lies: The
 * Linux/x86 Boot Protocol (Documentation/arch/x86/boot.rst), sections "The Real-Mode Kernel Header"
 * and "Details of Header Fields".
 *
 * @param payloadOffset offset of the compressed kernel in the file
 * @param payloadLength its length in bytes, with the four bytes that say its unpacked size
 */
record BzImage(long payloadOffset, int payloadLength) {
  private static final int SETUP_SECTS = 0x1f1;
  private static final int SYSSIZE = 0x1f4;
  private static final int BOOT_FLAG = 0x1fe;
  private static final int HEADER = 0x202;
  private static final int VERSION = 0x206;
  private static final int XLOADFLAGS = 0x236;
  private static final int PAYLOAD_OFFSET = 0x248;
  private static final int PAYLOAD_LENGTH = 0x24c;
  private static final int HEADER_END = 0x250;

  private static final int SECTOR = 512;
  private static final int HDRS = 0x53726448;
  private static final short XLF_KERNEL_64 = 1;

  /** {@code start} holds the first 0x206 bytes of a file, or zeros where it ends before. */
  static boolean hasMagic(ByteBuffer start) {
    return Short.toUnsignedInt(start.getShort(BOOT_FLAG)) == 0xaa55 && start.getInt(HEADER) == HDRS;
  }

  /**
   * Reads the header of a file for which {@link #hasMagic} holds.
   *
   * @param name what to call the file in errors
   */
  static BzImage read(String name, Bytes bytes) throws IOException {
    if (bytes.size() < HEADER_END) {
      throw Elf64.truncated(name, "the boot protocol's setup header", HEADER_END, bytes.size());
    }
    ByteBuffer header = bytes.buffer(0, HEADER_END);
    int version = Short.toUnsignedInt(header.getShort(VERSION));
    if (version < 0x0208) {
      throw new KernelException(
          KernelException.Reason.UNSUPPORTED,
          String.format(
              "%s speaks boot protocol %d.%02d, and the place of the compressed kernel is known from 2.08 on",
              name, version >> 8, version & 0xff),
          "Use a kernel of 2.6.24 or later, or its uncompressed vmlinux.",
          null);
    }
    // 2.12 (Linux 3.8) introduced xloadflags; before it a 64-bit kernel can be told from its ELF
    // header only.
    if (version >= 0x020c && (header.getShort(XLOADFLAGS) & XLF_KERNEL_64) == 0) {
      throw new KernelException(
          KernelException.Reason.UNSUPPORTED,
          name + " is a 32-bit kernel",
          "Use a 64-bit (amd64, x86_64) build.",
          null);
    }
    int setupSectors = Byte.toUnsignedInt(header.get(SETUP_SECTS));
    long protectedMode = ((setupSectors == 0 ? 4 : setupSectors) + 1L) * SECTOR;
    long end = protectedMode + Integer.toUnsignedLong(header.getInt(SYSSIZE)) * 16;
    long payloadOffset = protectedMode + Integer.toUnsignedLong(header.getInt(PAYLOAD_OFFSET));
    long payloadLength = Integer.toUnsignedLong(header.getInt(PAYLOAD_LENGTH));
    if (payloadLength < 8
        || payloadLength > KernelPayload.MAX_UNPACKED
        || payloadOffset + payloadLength > end) {
      throw new KernelException(
          KernelException.Reason.DAMAGED,
          String.format(
              "%s is damaged: its header puts 0x%x bytes of compressed kernel at 0x%x, and the end of the kernel at 0x%x",
              name, payloadLength, payloadOffset, end),
          null,
          null);
    }
    // syssize counts 16-byte paragraphs, so the last one may be padding that the file does not
    // have.
    if (payloadOffset + payloadLength > bytes.size() || end - 15 > bytes.size()) {
      throw Elf64.truncated(name, "the kernel", end, bytes.size());
    }
    return new BzImage(payloadOffset, (int) payloadLength);
  }
}
