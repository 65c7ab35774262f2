// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.CodingErrorAction;

/**
 * Names of the guest's files, which are bytes, as text: UTF-8, and each byte that is none as the
 * low surrogate U+DC80 to U+DCFF with its eight bits, which UTF-8 has none of. So each name has one
 * text.
 */
public final class FileNames {
  private static final char ESCAPE = 0xDC00;

  private FileNames() {}

  /** The text of a name. */
  public static String decode(byte[] name) {
    ByteBuffer bytes = ByteBuffer.wrap(name);
    CharBuffer text = CharBuffer.allocate(bytes.remaining());
    CharsetDecoder decoder =
        UTF_8
            .newDecoder()
            .onMalformedInput(CodingErrorAction.REPORT)
            .onUnmappableCharacter(CodingErrorAction.REPORT);
    while (true) {
      CoderResult result = decoder.decode(bytes, text, true);
      if (result.isUnderflow()) {
        return text.flip().toString();
      }
      for (int i = 0; i < result.length(); i++) {
        text.put((char) (ESCAPE | (bytes.get() & 0xFF)));
      }
      decoder.reset();
    }
  }

  /**
   * The name of a text.
   *
   * @throws IllegalArgumentException when it has a surrogate that stands for nothing
   */
  public static byte[] encode(String name) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(name.length());
    int start = 0;
    for (int i = 0; i < name.length(); i++) {
      char c = name.charAt(i);
      boolean escaped =
          c >= (ESCAPE | 0x80)
              && c <= (ESCAPE | 0xFF)
              && (i == 0 || !Character.isHighSurrogate(name.charAt(i - 1)));
      if (escaped) {
        write(bytes, name.substring(start, i));
        bytes.write(c & 0xFF);
        start = i + 1;
      }
    }
    write(bytes, name.substring(start));
    return bytes.toByteArray();
  }

  private static void write(ByteArrayOutputStream bytes, String text) {
    try {
      ByteBuffer encoded = UTF_8.newEncoder().encode(CharBuffer.wrap(text));
      bytes.write(encoded.array(), 0, encoded.limit());
    } catch (CharacterCodingException e) {
      throw new IllegalArgumentException("the name has half a surrogate pair: '" + text + "'", e);
    }
  }
}
