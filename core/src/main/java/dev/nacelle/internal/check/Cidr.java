// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.check;

/**
 * A block of addresses, RFC 4632 section 3.1 and RFC 4291 section 2.3. Immutable.
 *
 * @param first its first address
 * @param prefix how many bits all have in common
 */
public record Cidr(Ip first, int prefix) {
  /** Checks that there is nothing behind the prefix. */
  public Cidr {
    if (prefix < 0 || prefix > first.bits()) {
      throw new IllegalArgumentException(
          "a prefix of " + first + " has 0 to " + first.bits() + " bits, not " + prefix);
    }
    Ip masked = masked(first, prefix);
    if (!masked.equals(first)) {
      throw new IllegalArgumentException(
          "'"
              + first
              + "/"
              + prefix
              + "' has bits behind its prefix; the block is "
              + text(masked, prefix));
    }
  }

  /**
   * Reads {@code 10.0.0.0/8}, {@code fd00::/8}, or one address.
   *
   * @throws IllegalArgumentException when it is nothing of that kind, or has bits behind its prefix
   */
  public static Cidr parse(String text) {
    int slash = text.indexOf('/');
    Ip address = Ip.parse(slash < 0 ? text : text.substring(0, slash));
    String length = text.substring(slash + 1);
    if (address == null || slash >= 0 && !length.matches("\\d|[1-9]\\d{1,2}")) {
      throw new IllegalArgumentException(
          "'" + text + "' is no block of addresses, such as 10.0.0.0/8, fd00::/8 or 10.1.2.3");
    }
    return new Cidr(address, slash < 0 ? address.bits() : Integer.parseInt(length));
  }

  private static Ip masked(Ip address, int prefix) {
    return address.v6()
        ? new Ip(
            true, address.high() & mask(Math.min(prefix, 64)), address.low() & mask(prefix - 64))
        : new Ip(false, 0, address.low() & mask(prefix + 32));
  }

  /** The upper bits of 64. */
  private static long mask(int bits) {
    return bits <= 0 ? 0 : -1L << (64 - bits);
  }

  /** Whether the address is one of the block's. */
  public boolean contains(Ip address) {
    if (address.v6() != first.v6()) {
      return false;
    }
    if (!first.v6()) {
      return ((address.low() ^ first.low()) & mask(prefix + 32)) == 0;
    }
    return ((address.high() ^ first.high()) & mask(Math.min(prefix, 64))) == 0
        && ((address.low() ^ first.low()) & mask(prefix - 64)) == 0;
  }

  /** Whether all addresses of another are the block's. */
  public boolean contains(Cidr other) {
    return other.prefix >= prefix && contains(other.first);
  }

  private static String text(Ip first, int prefix) {
    return prefix == first.bits() ? first.toString() : first + "/" + prefix;
  }

  /** As {@link #parse} reads it, in one way. */
  @Override
  public String toString() {
    return text(first, prefix);
  }
}
