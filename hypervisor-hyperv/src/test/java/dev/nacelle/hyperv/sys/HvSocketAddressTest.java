// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HexFormat;
import java.util.OptionalInt;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class HvSocketAddressTest {
  private static final UUID VM = UUID.fromString("00112233-4455-6677-8899-aabbccddeeff");

  @Test
  void addressIsAsWindowsHasIt() {
    ByteBuffer bytes = ByteBuffer.allocate(HvSocketAddress.SIZE).order(ByteOrder.LITTLE_ENDIAN);
    HvSocketAddress address = HvSocketAddress.ofPort(VM, 0x01020304);
    address.write(bytes);
    assertEquals(
        "22000000" // AF_HYPERV and what is reserved
            + "33221100"
            + "5544"
            + "7766"
            + "8899aabbccddeeff"
            + "04030201"
            + "cbfa"
            + "e611"
            + "bd5864006a7986d3",
        HexFormat.of().formatHex(bytes.array()));
    assertEquals(address, HvSocketAddress.read(bytes));
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 1024, Integer.MAX_VALUE, -1, Integer.MIN_VALUE})
  void portIsFoundAgain(int port) {
    HvSocketAddress address = HvSocketAddress.ofPort(VM, port);
    assertEquals(OptionalInt.of(port), address.port());
    assertEquals(
        String.format("%08x-facb-11e6-bd58-64006a7986d3", port), address.service().toString());
  }

  @Test
  void otherServiceHasNoPort() {
    assertEquals(OptionalInt.empty(), new HvSocketAddress(VM, VM).port());
  }
}
