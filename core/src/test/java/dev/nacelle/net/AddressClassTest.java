// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.internal.check.Cidr;
import dev.nacelle.internal.check.Ip;
import java.math.BigInteger;
import java.net.InetAddress;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class AddressClassTest {
  private static final Ip OWN_V4 = ip("198.51.100.7");
  private static final Ip OWN_V6 = ip("2600:1f00::7");

  static Ip ip(String text) {
    return Cidr.parse(text).first();
  }

  private static AddressClass of(Ip address) {
    return AddressClass.of(address, ip -> ip.equals(OWN_V4) || ip.equals(OWN_V6));
  }

  /** First and last of each row of IANA's registries, and what is beside it. */
  @ParameterizedTest
  @CsvSource({
    "0.0.0.0/8, FORBIDDEN, PRIVATE, , PUBLIC",
    "10.0.0.0/8, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "100.64.0.0/10, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "127.0.0.0/8, HOST, HOST, PUBLIC, PUBLIC",
    "169.254.0.0/16, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "172.16.0.0/12, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "192.0.0.0/24, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "192.0.0.0/29, PRIVATE, PRIVATE, PUBLIC, PRIVATE",
    "192.0.0.8/32, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "192.0.0.9/32, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "192.0.0.10/32, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "192.0.0.170/32, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "192.0.0.171/32, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "192.0.2.0/24, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "192.31.196.0/24, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "192.52.193.0/24, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "192.88.99.0/24, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "192.88.99.2/32, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "192.168.0.0/16, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "192.175.48.0/24, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "198.18.0.0/15, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "198.51.100.0/24, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "203.0.113.0/24, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "224.0.0.0/4, FORBIDDEN, FORBIDDEN, PUBLIC, FORBIDDEN",
    "240.0.0.0/4, FORBIDDEN, FORBIDDEN, FORBIDDEN, ",
    "255.255.255.255/32, FORBIDDEN, FORBIDDEN, FORBIDDEN, ",
    "::1/128, HOST, HOST, FORBIDDEN, PRIVATE",
    "::/128, FORBIDDEN, FORBIDDEN, , HOST",
    "64:ff9b:1::/48, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "100::/64, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "100:0:0:1::/64, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "2001::/23, FORBIDDEN, PRIVATE, PUBLIC, PUBLIC",
    "2001:1::1/128, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "2001:1::2/128, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "2001:1::3/128, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "2001:2::/48, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "2001:3::/32, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "2001:4:112::/48, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "2001:10::/28, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "2001:20::/28, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "2001:30::/28, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "2001:db8::/32, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "2620:4f:8000::/48, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "3fff::/20, PRIVATE, PRIVATE, PUBLIC, PUBLIC",
    "5f00::/16, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "fc00::/7, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "fe80::/10, PRIVATE, PRIVATE, PRIVATE, PRIVATE",
    "ff00::/8, FORBIDDEN, FORBIDDEN, PRIVATE, ",
    "2000::/3, PUBLIC, PUBLIC, PRIVATE, PRIVATE"
  })
  void rowsOfTheRegistries(
      String block,
      AddressClass first,
      AddressClass last,
      AddressClass before,
      AddressClass after) {
    Cidr cidr = Cidr.parse(block);
    BigInteger at = new BigInteger(1, cidr.first().bytes());
    BigInteger size = BigInteger.ONE.shiftLeft(cidr.first().bits() - cidr.prefix());
    assertEquals(first, of(cidr.first()));
    assertEquals(last, of(at(cidr, at.add(size).subtract(BigInteger.ONE))));
    if (before != null) {
      assertEquals(before, of(at(cidr, at.subtract(BigInteger.ONE))));
    }
    if (after != null) {
      assertEquals(after, of(at(cidr, at.add(size))));
    }
  }

  private static Ip at(Cidr like, BigInteger number) {
    return like.first().v6()
        ? Ip.v6(number.shiftRight(64).longValue(), number.longValue())
        : Ip.v4(number.intValue());
  }

  @ParameterizedTest
  @CsvSource({
    "8.8.8.8, PUBLIC",
    "2606:4700::1111, PUBLIC",
    "169.254.169.254, METADATA",
    "169.254.170.2, METADATA",
    "169.254.170.23, METADATA",
    "fd00:ec2::23, METADATA",
    "fd20:ce::254, METADATA",
    "fd00:ec2::254, METADATA",
    "168.63.129.16, METADATA",
    "100.100.100.200, METADATA",
    "192.0.0.192, METADATA",
    "198.51.100.7, HOST",
    "2600:1f00::7, HOST",
    "2600:1f00::8, PUBLIC",
    "fec0::1, PRIVATE",
    "4000::1, PRIVATE"
  })
  void single(String address, AddressClass expected) {
    assertEquals(expected, of(ip(address)));
  }

  /** An address of IPv4, written in every way in which one of IPv6 leads to it. */
  @ParameterizedTest
  @CsvSource({
    "8.8.8.8, PUBLIC",
    "10.1.2.3, PRIVATE",
    "169.254.169.254, METADATA",
    "127.0.0.1, HOST",
    "198.51.100.7, HOST",
    "224.0.0.1, FORBIDDEN",
    "0.0.0.0, FORBIDDEN",
    "255.255.255.255, FORBIDDEN"
  })
  void insideOthers(String v4, AddressClass expected) {
    Ip inner = ip(v4);
    long bits = inner.low();
    assertEquals(expected, of(inner));
    assertEquals(inner, Ip.v6(0, 0xffff_0000_0000L | bits), "mapped is IPv4 itself");
    assertEquals(expected, of(Ip.v6(0x0064_ff9b_0000_0000L, bits)), "NAT64");
    AddressClass outer = expected == AddressClass.PUBLIC ? AddressClass.PRIVATE : expected;
    assertEquals(outer, of(Ip.v6(0x2002L << 48 | bits << 16 | 1, 1)), "6to4");
    long server = 0x0808_0808L;
    long client = ~server & 0xffff_ffffL;
    assertEquals(outer, of(Ip.v6(0x2001_0000L << 32 | bits, client)), "Teredo's server");
    long inverted = ~bits & 0xffff_ffffL;
    assertEquals(outer, of(Ip.v6(0x2001_0000L << 32 | server, inverted)), "Teredo's client");
    if (bits > 1) {
      assertEquals(outer, of(Ip.v6(0, bits)), "compatible");
    }
  }

  @Test
  void theJdksMappedAddressesAreIpv4() throws Exception {
    byte[] mapped = new byte[16];
    mapped[10] = mapped[11] = (byte) 0xff;
    mapped[12] = 127;
    mapped[15] = 1;
    assertEquals(ip("127.0.0.1"), Ip.of(InetAddress.getByAddress(mapped)));
    assertEquals(ip("127.0.0.1"), ip("::ffff:127.0.0.1"));
    assertEquals("2001:db8::1", ip("2001:DB8:0::1").toString());
    assertEquals(InetAddress.getByName("2001:db8::1"), ip("2001:db8::1").toInetAddress());
  }

  @ParameterizedTest
  @CsvSource({
    "10.0.0.0/8, 10.1.2.3, true",
    "10.1.0.0/16, 10.1.2.3, true",
    "10.1.0.0/16, 10.2.2.3, false",
    "8.0.0.0/5, 10.1.2.3, false",
    "0.0.0.0/0, 10.1.2.3, false",
    "0.0.0.0/0, 8.8.8.8, true",
    "::/0, 2606:4700::1, true",
    "::/0, fd00::1, false",
    "fd00::/8, fd00::1, true",
    "192.0.0.0/24, 192.0.0.1, true",
    "192.0.0.0/8, 192.0.0.1, false",
    "169.254.0.0/16, 169.254.169.254, true",
    "168.63.0.0/16, 168.63.129.16, false",
    "168.63.129.16, 168.63.129.16, true",
    "4000::/3, 4000::1, true",
    "::/1, 4000::1, false",
    "64:ff9b::a00:0/104, 64:ff9b::a01:203, true",
    "64:ff9b::/96, 64:ff9b::a01:203, false",
    "64:ff9b::800:0/102, 64:ff9b::a01:203, false",
    "64:ff9b::a01:203/128, 64:ff9b::a01:203, true",
    "10.0.0.0/8, 64:ff9b::a01:203, false",
    "64::/16, 64:ff9b::a01:203, false",
    "fe80::/10, fe80::1, true",
    "8000::/1, fe80::1, false"
  })
  void aBlockMeansWhatItIsWithin(String block, String address, boolean expected) {
    Ip ip = ip(address);
    assertEquals(expected, of(ip).isMeantBy(Cidr.parse(block), ip));
  }

  @Test
  void blocksContainTheirOwn() {
    Cidr all = Cidr.parse("::/0");
    assertTrue(all.contains(Cidr.parse("::1")));
    assertFalse(all.contains(ip("1.2.3.4")));
    Cidr odd = Cidr.parse("2001:db8:0:0:8000::/65");
    assertTrue(odd.contains(ip("2001:db8::ffff:0:0:1")));
    assertFalse(odd.contains(ip("2001:db8::7fff:0:0:1")));
    assertTrue(Cidr.parse("0.0.0.0/0").contains(ip("255.255.255.255")));
    assertFalse(Cidr.parse("128.0.0.0/1").contains(ip("127.255.255.255")));
    assertFalse(Cidr.parse("10.0.0.0/16").contains(Cidr.parse("10.0.0.0/8")));
  }
}
