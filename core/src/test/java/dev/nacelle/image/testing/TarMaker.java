// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.testing;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Locale;

/** Makes tar archives byte by byte, good ones and others. Text is UTF-8. */
public final class TarMaker {
  private final ByteArrayOutputStream archive = new ByteArrayOutputStream();

  /** A header as POSIX has it, with everything open to change. */
  public static final class Header {
    private final byte[] block = new byte[512];

    private Header(char type, byte[] name) {
      text(0, 100, name);
      octal(100, 8, type == '5' ? 0755 : 0644);
      octal(108, 8, 0);
      octal(116, 8, 0);
      octal(124, 12, 0);
      octal(136, 12, 1_700_000_000L);
      block[156] = (byte) type;
      text(257, 8, new byte[] {'u', 's', 't', 'a', 'r', 0, '0', '0'});
      octal(329, 8, 0);
      octal(337, 8, 0);
    }

    public Header text(int offset, int length, byte[] text) {
      Arrays.fill(block, offset, offset + length, (byte) 0);
      System.arraycopy(text, 0, block, offset, Math.min(length, text.length));
      return this;
    }

    public Header octal(int offset, int length, long value) {
      String digits = String.format(Locale.ROOT, "%0" + (length - 1) + "o", value);
      return text(offset, length, digits.getBytes(StandardCharsets.US_ASCII));
    }

    public Header mode(int mode) {
      return octal(100, 8, mode);
    }

    public Header link(String target) {
      return text(157, 100, utf8(target));
    }

    public Header size(long size) {
      return octal(124, 12, size);
    }

    public Header device(int major, int minor) {
      return octal(329, 8, major).octal(337, 8, minor);
    }

    private byte[] finish() {
      Arrays.fill(block, 148, 156, (byte) ' ');
      int sum = 0;
      for (byte b : block) {
        sum += b & 0xFF;
      }
      octal(148, 7, sum);
      block[155] = ' ';
      return block;
    }
  }

  public static Header header(char type, String name) {
    return new Header(type, utf8(name));
  }

  public static Header header(char type, byte[] name) {
    return new Header(type, name);
  }

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  public TarMaker add(Header header) {
    return raw(header.finish());
  }

  /** A header with its content, whose size is put in. */
  public TarMaker add(Header header, byte[] content) {
    add(header.size(content.length)).raw(content);
    return raw(new byte[-content.length & 511]);
  }

  public TarMaker raw(byte[] bytes) {
    archive.writeBytes(bytes);
    return this;
  }

  public TarMaker file(String name, String content) {
    return add(header('0', name), utf8(content));
  }

  public TarMaker directory(String name) {
    return add(header('5', name));
  }

  public TarMaker symbolicLink(String name, String target) {
    return add(header('2', name).link(target));
  }

  public TarMaker hardLink(String name, String target) {
    return add(header('1', name).link(target));
  }

  /** Records of an extended header, for what is added next: key, value, key, value... */
  public TarMaker pax(String... records) {
    byte[][] bytes = new byte[records.length][];
    Arrays.setAll(bytes, i -> utf8(records[i]));
    return pax(bytes);
  }

  public TarMaker pax(byte[]... records) {
    ByteArrayOutputStream content = new ByteArrayOutputStream();
    for (int i = 0; i < records.length; i += 2) {
      int rest = 1 + records[i].length + 1 + records[i + 1].length + 1;
      int length = rest + 1;
      while (length != rest + Integer.toString(length).length()) {
        length++;
      }
      content.writeBytes(utf8(length + " "));
      content.writeBytes(records[i]);
      content.write('=');
      content.writeBytes(records[i + 1]);
      content.write('\n');
    }
    return add(header('x', "PaxHeaders/x"), content.toByteArray());
  }

  /** The archive so far, without its end. */
  public byte[] unfinished() {
    return archive.toByteArray();
  }

  /** The archive with its end. */
  public byte[] finish() {
    raw(new byte[1024]);
    return archive.toByteArray();
  }
}
