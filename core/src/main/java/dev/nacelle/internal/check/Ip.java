// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.check;

import com.google.common.net.InetAddresses;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * An address of IPv4 or IPv6 as numbers. An IPv4-mapped one (RFC 4291 section 2.5.5.2) is the IPv4
 * address that it stands for: systems connect to that. Nothing here asks a resolver. Immutable.
 *
 * @param v6 whether it is one of IPv6
 * @param high the first 64 bits of IPv6; 0 of IPv4
 * @param low the last 64 bits of IPv6; the 32 bits of IPv4
 */
public record Ip(boolean v6, long high, long low) {
  private static final long MAPPED = 0xffffL;

  /** An address of IPv4. */
  public static Ip v4(int bits) {
    return new Ip(false, 0, bits & 0xffff_ffffL);
  }

  /** An address of IPv6, or the one of IPv4 that is mapped in it. */
  public static Ip v6(long high, long low) {
    return high == 0 && low >>> 32 == MAPPED ? v4((int) low) : new Ip(true, high, low);
  }

  /**
   * The address in a buffer, which is read.
   *
   * @param length 4 or 16 bytes
   */
  public static Ip read(ByteBuffer in, int length) {
    return length == 4 ? v4(in.getInt()) : v6(in.getLong(), in.getLong());
  }

  /** The same as the JDK has it; a scope is left out. */
  public static Ip of(InetAddress address) {
    byte[] bytes = address.getAddress();
    return read(ByteBuffer.wrap(bytes), bytes.length);
  }

  /** An address as text: dotted decimal, or RFC 4291 section 2.2 without a scope; null if none. */
  public static @Nullable Ip parse(String text) {
    return text.indexOf('%') < 0 && InetAddresses.isInetAddress(text)
        ? of(InetAddresses.forString(text))
        : null;
  }

  /** 32 or 128. */
  public int bits() {
    return v6 ? 128 : 32;
  }

  /** 4 or 16 bytes. */
  public byte[] bytes() {
    return v6
        ? ByteBuffer.allocate(16).putLong(high).putLong(low).array()
        : ByteBuffer.allocate(4).putInt((int) low).array();
  }

  /** The same as the JDK has it, without a name. */
  public InetAddress toInetAddress() {
    try {
      return InetAddress.getByAddress(bytes());
    } catch (UnknownHostException e) {
      throw new AssertionError("there are addresses of 4 and 16 bytes", e);
    }
  }

  /** As RFC 5952 writes it. */
  @Override
  public String toString() {
    return InetAddresses.toAddrString(toInetAddress());
  }
}
