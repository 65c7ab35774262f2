// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.acpi;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * Writes ACPI Machine Language (ACPI 6.5 chapter 20) and resource descriptors (section 6.4): as
 * much of them as a machine of virtio-mmio devices and a serial port needs. Each method returns the
 * bytes of one term.
 */
final class Aml {
  // Section 20.3, table 20.2.
  private static final int ZERO_OP = 0x00;
  private static final int ONE_OP = 0x01;
  private static final int NAME_OP = 0x08;
  private static final int BYTE_PREFIX = 0x0a;
  private static final int WORD_PREFIX = 0x0b;
  private static final int DWORD_PREFIX = 0x0c;
  private static final int STRING_PREFIX = 0x0d;
  private static final int SCOPE_OP = 0x10;
  private static final int BUFFER_OP = 0x11;
  private static final int PACKAGE_OP = 0x12;
  private static final int EXT_OP_PREFIX = 0x5b;
  private static final int DEVICE_OP = 0x82;
  private static final int ROOT_CHAR = '\\';

  // Section 6.4: resource data types.
  private static final int IO_PORT_DESCRIPTOR = 0x47;
  private static final int END_TAG = 0x79;
  private static final int MEMORY32_FIXED_DESCRIPTOR = 0x86;
  private static final int EXTENDED_INTERRUPT_DESCRIPTOR = 0x89;

  private Aml() {}

  static byte[] scope(String name, byte[]... terms) {
    return join(bytes(SCOPE_OP), packaged(join(name(name), join(terms))));
  }

  static byte[] device(String name, byte[]... terms) {
    return join(bytes(EXT_OP_PREFIX, DEVICE_OP), packaged(join(name(name), join(terms))));
  }

  static byte[] named(String name, byte[] value) {
    return join(bytes(NAME_OP), name(name), value);
  }

  static byte[] integer(long value) {
    if (value == 0) {
      return bytes(ZERO_OP);
    } else if (value == 1) {
      return bytes(ONE_OP);
    } else if (value <= 0xff) {
      return bytes(BYTE_PREFIX, (int) value);
    } else if (value <= 0xffff) {
      return littleEndian(3).put((byte) WORD_PREFIX).putShort((short) value).array();
    }
    return littleEndian(5).put((byte) DWORD_PREFIX).putInt(Math.toIntExact(value)).array();
  }

  static byte[] string(String ascii) {
    return join(bytes(STRING_PREFIX), ascii.getBytes(StandardCharsets.US_ASCII), bytes(0));
  }

  /** A compressed EISA identifier, e.g. PNP0501 (section 19.6.36): 3 letters, 4 hex digits. */
  static byte[] eisaId(String id) {
    int letters =
        (id.charAt(0) - '@' & 0x1f) << 10
            | (id.charAt(1) - '@' & 0x1f) << 5
            | id.charAt(2) - '@' & 0x1f;
    int value = letters << 16 | Integer.parseInt(id.substring(3), 16);
    return littleEndian(5).put((byte) DWORD_PREFIX).putInt(Integer.reverseBytes(value)).array();
  }

  static byte[] packageOf(byte[]... elements) {
    return join(bytes(PACKAGE_OP), packaged(join(bytes(elements.length), join(elements))));
  }

  /** A buffer that holds resource descriptors and the end tag (section 6.4.2.9). */
  static byte[] resources(byte[]... descriptors) {
    // A checksum of 0 means that there is none.
    byte[] content = join(join(descriptors), bytes(END_TAG, 0));
    return join(bytes(BUFFER_OP), packaged(join(integer(content.length), content)));
  }

  /** Memory32Fixed (section 6.4.3.4), read and write. */
  static byte[] memory32Fixed(long address, long size) {
    return littleEndian(12)
        .put((byte) MEMORY32_FIXED_DESCRIPTOR)
        .putShort((short) 9)
        .put((byte) 1)
        .putInt((int) address)
        .putInt((int) size)
        .array();
  }

  /** IO (section 6.4.2.5): fixed ports, 16-bit decode. */
  static byte[] ioPorts(int first, int count) {
    return littleEndian(8)
        .put((byte) IO_PORT_DESCRIPTOR)
        .put((byte) 1)
        .putShort((short) first)
        .putShort((short) first)
        .put((byte) 1)
        .put((byte) count)
        .array();
  }

  /** Interrupt (section 6.4.3.6): consumer, edge, active high, exclusive. */
  static byte[] edgeInterrupt(int gsi) {
    return littleEndian(9)
        .put((byte) EXTENDED_INTERRUPT_DESCRIPTOR)
        .putShort((short) 6)
        .put((byte) 0b0011)
        .put((byte) 1)
        .putInt(gsi)
        .array();
  }

  private static byte[] name(String name) {
    boolean rooted = name.charAt(0) == ROOT_CHAR;
    String segment = rooted ? name.substring(1) : name;
    if (!segment.matches("[A-Z_][A-Z0-9_]{3}")) {
      throw new IllegalArgumentException("not an ACPI name segment: " + segment);
    }
    return name.getBytes(StandardCharsets.US_ASCII);
  }

  /** Prefixes PkgLength (section 20.2.4), which counts itself. */
  private static byte[] packaged(byte[] content) {
    if (content.length + 1 <= 0x3f) {
      return join(bytes(content.length + 1), content);
    }
    // The lead byte tells how many follow, and holds the low 4 bits.
    int following = content.length + 2 <= 0xfff ? 1 : content.length + 3 <= 0xf_ffff ? 2 : 3;
    int length = content.length + 1 + following;
    byte[] prefix = new byte[1 + following];
    prefix[0] = (byte) (following << 6 | length & 0xf);
    for (int i = 1; i <= following; i++) {
      prefix[i] = (byte) (length >>> 8 * i - 4);
    }
    return join(prefix, content);
  }

  private static ByteBuffer littleEndian(int size) {
    return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static byte[] bytes(int... values) {
    byte[] bytes = new byte[values.length];
    for (int i = 0; i < values.length; i++) {
      bytes[i] = (byte) values[i];
    }
    return bytes;
  }

  private static byte[] join(byte[]... parts) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      all.writeBytes(part);
    }
    return all.toByteArray();
  }
}
