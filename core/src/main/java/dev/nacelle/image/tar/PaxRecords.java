// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.tar;

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The records of an extended header ("pax Extended Header" of POSIX.1-2017 pax): {@code "LENGTH
 * KEY=VALUE\n"}. Keys and values are bytes here, of which each is a character in a key; POSIX wants
 * UTF-8, but archives of other names exist, and extended attributes are no text at all.
 */
final class PaxRecords {
  static final PaxRecords NONE = new PaxRecords();

  private static final String XATTR = "SCHILY.xattr.";

  private static final int MAX_LENGTH_DIGITS = 9;

  private static final Pattern TIME = Pattern.compile("(-?)(\\d{1,100})(?:\\.(\\d{0,100}))?");

  private static final Pattern NUMBER = Pattern.compile("\\d{1,25}");
  private static final BigInteger MAX_LONG = BigInteger.valueOf(Long.MAX_VALUE);

  private final Map<String, byte[]> values = new LinkedHashMap<>();

  /** GNU's sparse format 0.0 repeats its keys, so it needs their order. */
  private final List<String> sparseNumbers = new ArrayList<>();

  private PaxRecords() {}

  static PaxRecords parse(byte[] bytes) throws TarException {
    PaxRecords records = new PaxRecords();
    for (int from = 0; from < bytes.length; ) {
      int space = indexOf(bytes, ' ', from, Math.min(bytes.length, from + MAX_LENGTH_DIGITS + 1));
      int length = space < 0 ? -1 : length(bytes, from, space);
      int end = from + length;
      if (length < 0 || end <= space || end > bytes.length || bytes[end - 1] != '\n') {
        throw new TarException("a PAX header has a record of the wrong length");
      }
      int equals = indexOf(bytes, '=', space + 1, end);
      if (equals < 0) {
        throw new TarException("a PAX header has a record without '='");
      }
      records.add(
          new String(bytes, space + 1, equals - space - 1, StandardCharsets.ISO_8859_1),
          Arrays.copyOfRange(bytes, equals + 1, end - 1));
      from = end;
    }
    return records;
  }

  private static int indexOf(byte[] bytes, char wanted, int from, int to) {
    for (int i = from; i < to; i++) {
      if (bytes[i] == wanted) {
        return i;
      }
    }
    return -1;
  }

  private static int length(byte[] bytes, int from, int to) {
    int length = 0;
    for (int i = from; i < to; i++) {
      int digit = bytes[i] - '0';
      if (digit < 0 || digit > 9) {
        return -1;
      }
      length = 10 * length + digit;
    }
    return length;
  }

  private void add(String key, byte[] value) throws TarException {
    if (key.equals(SparseMap.PAX_OFFSET) || key.equals(SparseMap.PAX_NUMBYTES)) {
      boolean offset = sparseNumbers.size() % 2 == 0;
      if (offset != key.equals(SparseMap.PAX_OFFSET)) {
        throw new TarException("the sparse map of a PAX header is out of order");
      }
      sparseNumbers.add(new String(value, StandardCharsets.ISO_8859_1));
    } else {
      values.put(key, value);
    }
  }

  /** Null where it is absent or empty, which POSIX has as "not given". */
  byte @Nullable [] bytes(String key) throws TarException {
    byte[] value = values.get(key);
    if (value == null || value.length == 0) {
      return null;
    }
    for (byte b : value) {
      if (b == 0) {
        throw new TarException("the " + key + " of a PAX header holds a NUL");
      }
    }
    return value;
  }

  @Nullable String text(String key) throws TarException {
    byte[] value = bytes(key);
    return value == null ? null : new String(value, StandardCharsets.ISO_8859_1);
  }

  /** A decimal number, or the alternative. */
  long number(String key, long alternative) throws TarException {
    String text = text(key);
    return text == null ? alternative : number(key, text);
  }

  /** The same, which may have a sign. */
  long signedNumber(String key, long alternative) throws TarException {
    String text = text(key);
    return text != null && text.startsWith("-")
        ? -number(key, text.substring(1))
        : number(key, alternative);
  }

  static long number(String key, String text) throws TarException {
    if (NUMBER.matcher(text).matches()) {
      BigInteger value = new BigInteger(text);
      if (value.compareTo(MAX_LONG) <= 0) {
        return value.longValue();
      }
    }
    throw new TarException("the " + key + " of a PAX header is no number of 63 bits");
  }

  /** Decimal seconds with a fraction, of which nanoseconds are kept. */
  @Nullable Instant time(String key) throws TarException {
    String text = text(key);
    if (text == null) {
      return null;
    }
    Matcher matcher = TIME.matcher(text);
    if (!matcher.matches()) {
      throw new TarException("the " + key + " of a PAX header is no time");
    }
    long sign = matcher.group(1).isEmpty() ? 1 : -1;
    String fraction = matcher.group(3) == null ? "" : matcher.group(3);
    long nanos = Long.parseLong((fraction + "000000000").substring(0, 9));
    long seconds = new BigInteger(matcher.group(2)).min(MAX_LONG).longValue();
    return instant(sign * seconds, sign * nanos);
  }

  /** The nearest time there is: filesystems hold fewer yet, and say so in their own way. */
  static Instant instant(long seconds, long nanos) {
    if (seconds >= Instant.MAX.getEpochSecond()) {
      return Instant.MAX;
    }
    return seconds <= Instant.MIN.getEpochSecond()
        ? Instant.MIN
        : Instant.ofEpochSecond(seconds, nanos);
  }

  Map<String, byte[]> xattrs() {
    Map<String, byte[]> xattrs = new LinkedHashMap<>();
    values.forEach(
        (key, value) -> {
          if (key.startsWith(XATTR)) {
            xattrs.put(key.substring(XATTR.length()), value);
          }
        });
    return xattrs.isEmpty() ? Map.of() : xattrs;
  }

  List<String> sparseNumbers() {
    return sparseNumbers;
  }
}
