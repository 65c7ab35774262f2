// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import java.nio.ByteBuffer;
import java.util.OptionalInt;
import java.util.UUID;

/**
 * Where a Hyper-V socket is (hvsocket.h).
 *
 * @param vm the machine: its runtime ID
 * @param service what in it; ports of AF_VSOCK are services of a common form
 */
public record HvSocketAddress(UUID vm, UUID service) {
  // struct SOCKADDR_HV
  static final int FAMILY = 0;
  static final int VM_ID = 4;
  static final int SERVICE_ID = 20;
  static final int SIZE = 36;

  /** HV_GUID_VSOCK_TEMPLATE: the service of port 0; the port is its first field. */
  static final UUID VSOCK_TEMPLATE = UUID.fromString("00000000-facb-11e6-bd58-64006a7986d3");

  private static final long PORT = 0xffff_ffff_0000_0000L;

  /** A port of AF_VSOCK. Linux guests have those that are not negative. */
  public static HvSocketAddress ofPort(UUID vm, int port) {
    long high = VSOCK_TEMPLATE.getMostSignificantBits() | (long) port << 32;
    return new HvSocketAddress(vm, new UUID(high, VSOCK_TEMPLATE.getLeastSignificantBits()));
  }

  /** The port of AF_VSOCK that the service is; empty when it is none. */
  public OptionalInt port() {
    return (service.getMostSignificantBits() & ~PORT) == VSOCK_TEMPLATE.getMostSignificantBits()
            && service.getLeastSignificantBits() == VSOCK_TEMPLATE.getLeastSignificantBits()
        ? OptionalInt.of((int) (service.getMostSignificantBits() >>> 32))
        : OptionalInt.empty();
  }

  /** Fills a zeroed SOCKADDR_HV. */
  void write(ByteBuffer address) {
    address.putShort(FAMILY, (short) Winsock.AF_HYPERV);
    Guid.put(address, VM_ID, vm);
    Guid.put(address, SERVICE_ID, service);
  }

  static HvSocketAddress read(ByteBuffer address) {
    return new HvSocketAddress(Guid.get(address, VM_ID), Guid.get(address, SERVICE_ID));
  }
}
