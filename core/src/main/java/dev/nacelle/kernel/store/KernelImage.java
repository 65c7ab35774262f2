// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.KernelException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** A kernel in any of the forms in which it is shipped, and how to get its vmlinux. */
final class KernelImage {
  /** As much as any of the signatures below needs. */
  private static final int START = 0x210;

  private KernelImage() {}

  /**
   * Makes an uncompressed kernel of an image, and checks that it can be loaded and is Linux.
   *
   * @param name what to call the image in errors
   * @param file the image, which becomes the kernel; damaged where that fails
   * @return what it says about itself
   * @throws KernelException when it is no Linux kernel for x86-64, or damaged
   */
  static Vmlinux unpack(String name, Path file) throws IOException {
    byte[] payload;
    try (FileChannel channel = FileChannel.open(file)) {
      payload = payload(name, Bytes.of(channel));
    }
    if (payload != null) {
      KernelPayload.unpack(name, payload, file);
    }
    return Vmlinux.inspect(name, file);
  }

  /** The compressed kernel; null where the image is an uncompressed one. */
  private static byte @Nullable [] payload(String name, Bytes image) throws IOException {
    int length = (int) Math.min(START, image.size());
    ByteBuffer start =
        ByteBuffer.allocate(START)
            .order(ByteOrder.LITTLE_ENDIAN)
            .put(image.read(0, length))
            .clear();
    if (Elf64.hasMagic(start)) {
      return null;
    }
    if (BzImage.hasMagic(start)) {
      BzImage header = BzImage.read(name, image);
      return image.read(header.payloadOffset(), header.payloadLength());
    }
    throw foreign(name, start);
  }

  /** Names what people mistake for a kernel that runs here. */
  private static KernelException foreign(String name, ByteBuffer start) {
    String what = "neither an ELF vmlinux nor a bzImage";
    String remedy = null;
    if (start.getInt(56) == 0x644d5241) {
      // Documentation/arch/arm64/booting.rst: "ARM\x64".
      what = "it is for arm64 (AArch64), not for x86-64";
      remedy = "Use the amd64 (x86_64) build of this kernel.";
    } else if (start.getInt(56) == 0x05435352) {
      // Documentation/arch/riscv/boot-image-header.rst: "RSC\x05".
      what = "it is for RISC-V, not for x86-64";
      remedy = "Use the amd64 (x86_64) build of this kernel.";
    } else if (start.getShort(0) == 0x5a4d) {
      what = "it is an EFI application, such as a unified kernel image, and no bzImage";
      remedy = "Extract its .linux section with objcopy.";
    } else if (start.getLong(0) == 0x0a3e686372613c21L) {
      what = "it is a Debian package";
      remedy = "Write deb: instead of file:.";
    } else if ((start.getInt(0) & 0xffffff) == 0x088b1f) {
      what = "it is a gzip file";
      remedy = "Unpack it with gunzip first.";
    }
    return new KernelException(
        KernelException.Reason.UNSUPPORTED,
        name + " is no kernel that can be used: " + what,
        remedy,
        null);
  }
}
