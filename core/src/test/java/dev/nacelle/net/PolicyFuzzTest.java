// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.nacelle.internal.check.Cidr;
import dev.nacelle.internal.check.DomainNames;
import dev.nacelle.internal.check.Ip;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Names, blocks and addresses are what they seem, or refused. See {@link
 * dev.nacelle.image.testing.FuzzedImages} for how to fuzz.
 */
class PolicyFuzzTest {
  static Stream<byte[]> names() {
    return Stream.of(
            "a.example",
            "*.a.example",
            "A.EXAMPLE.",
            "1.2.3.4",
            "0x7f.1",
            "[::1]",
            "a..b",
            "*.com",
            "b\u00fccher.example",
            "a-.b",
            "xn--a.b",
            "a.localhost",
            "a".repeat(64))
        .map(text -> text.getBytes(StandardCharsets.UTF_8));
  }

  @MethodSource("names")
  @FuzzTest
  void aNameIsOneForEverybody(byte[] bytes) {
    String text = new String(bytes, StandardCharsets.UTF_8);
    String name = DomainNames.canonical(text);
    if (name != null
        && (!name.equals(DomainNames.canonical(name))
            || !name.matches(
                "(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
                    + "(\\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
            || Ip.parse(name) != null)) {
      throw new AssertionError("a name: " + text + " as " + name);
    }
    try {
      String pattern = DomainNames.pattern(text);
      String base = DomainNames.base(pattern);
      if (!base.equals(DomainNames.canonical(base))
          || DomainNames.isWildcard(pattern) && base.indexOf('.') < 0) {
        throw new AssertionError("a pattern: " + text);
      }
    } catch (IllegalArgumentException expected) {
      // said to be none
    }
  }

  static Stream<byte[]> blocks() {
    return Stream.of(
            "10.0.0.0/8",
            "fd00::/8",
            "::ffff:1.2.3.4",
            "1.2.3.4/0",
            "::/129",
            "1::2%3",
            "2001:db8::1/128",
            "0.0.0.0/00")
        .map(text -> text.getBytes(StandardCharsets.UTF_8));
  }

  @MethodSource("blocks")
  @FuzzTest
  void aBlockIsReadAsItIsWritten(byte[] bytes) {
    Cidr block;
    try {
      block = Cidr.parse(new String(bytes, StandardCharsets.UTF_8));
    } catch (IllegalArgumentException expected) {
      return; // said to be none
    }
    if (!block.equals(Cidr.parse(block.toString())) || !block.contains(block.first())) {
      throw new AssertionError("not what it says: " + block);
    }
  }

  static Stream<byte[]> addresses() {
    return Stream.of("::1", "64:ff9b::7f00:1", "2002:a9fe:a9fe::1", "2001::1", "ff02::1", "1::1")
        .map(text -> AddressClassTest.ip(text).bytes());
  }

  /** Nothing that leads to the host, or to metadata, is more open than that. */
  @MethodSource("addresses")
  @FuzzTest
  void anAddressIsNoMoreOpenThanWhatIsWrittenInIt(byte[] bytes) throws Exception {
    if (bytes.length != 16) {
      return;
    }
    Ip address = Ip.read(ByteBuffer.wrap(bytes), 16);
    if (!address.equals(Ip.of(InetAddress.getByAddress(bytes)))
        || !address.equals(Ip.parse(address.toString()))) {
      throw new AssertionError("another for the JDK: " + address);
    }
    AddressClass of = AddressClass.of(address, ip -> false);
    for (Ip inner : AddressClass.embedded(address)) {
      if (AddressClass.of(inner, ip -> false).compareTo(of) > 0) {
        throw new AssertionError(address + " is " + of + ", and has " + inner);
      }
    }
    InetAddress jdk = address.toInetAddress();
    boolean closed = jdk.isMulticastAddress() || jdk.isLoopbackAddress() || jdk.isAnyLocalAddress();
    boolean local = jdk.isLinkLocalAddress() || jdk.isSiteLocalAddress();
    if (closed && of.compareTo(AddressClass.HOST) < 0 || local && of == AddressClass.PUBLIC) {
      throw new AssertionError(address + " is " + of);
    }
    if (List.of(AddressClass.PRIVATE, AddressClass.PUBLIC).contains(of)
        && !of.isMeantBy(new Cidr(address, address.bits()), address)) {
      throw new AssertionError("not meant by itself: " + address);
    }
  }
}
