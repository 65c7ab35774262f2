// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/** {@code struct virtio_vsock_hdr} (virtio 1.2 section 5.10.6), decoded; one object is reused. */
final class VsockHeader {
  /** Size in bytes. */
  static final int BYTES = 44;

  // Operations, virtio 1.2 section 5.10.6
  static final int REQUEST = 1;
  static final int RESPONSE = 2;
  static final int RESET = 3;
  static final int SHUTDOWN = 4;
  static final int DATA = 5;
  static final int CREDIT_UPDATE = 6;
  static final int CREDIT_REQUEST = 7;

  // Socket types, section 5.10.6.2
  static final int STREAM = 1;

  // Flags of SHUTDOWN, section 5.10.6.5
  static final int NO_MORE_RECEIVING = 1;
  static final int NO_MORE_SENDING = 2;

  private static final VarHandle LONG =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle INT =
      MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle SHORT =
      MethodHandles.byteArrayViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);

  long sourceCid;
  long destinationCid;
  int sourcePort;
  int destinationPort;

  /** Bytes of payload, unsigned. */
  int length;

  int type;
  int operation;
  int flags;

  /** {@code buf_alloc}: the sender's receive buffer in bytes, unsigned. */
  int bufferSize;

  /** {@code fwd_cnt}: how many bytes the sender's user has taken from it, free-running. */
  int forwarded;

  void decode(byte[] bytes) {
    sourceCid = (long) LONG.get(bytes, 0);
    destinationCid = (long) LONG.get(bytes, 8);
    sourcePort = (int) INT.get(bytes, 16);
    destinationPort = (int) INT.get(bytes, 20);
    length = (int) INT.get(bytes, 24);
    type = Short.toUnsignedInt((short) SHORT.get(bytes, 28));
    operation = Short.toUnsignedInt((short) SHORT.get(bytes, 30));
    flags = (int) INT.get(bytes, 32);
    bufferSize = (int) INT.get(bytes, 36);
    forwarded = (int) INT.get(bytes, 40);
  }

  void encode(byte[] bytes) {
    LONG.set(bytes, 0, sourceCid);
    LONG.set(bytes, 8, destinationCid);
    INT.set(bytes, 16, sourcePort);
    INT.set(bytes, 20, destinationPort);
    INT.set(bytes, 24, length);
    SHORT.set(bytes, 28, (short) type);
    SHORT.set(bytes, 30, (short) operation);
    INT.set(bytes, 32, flags);
    INT.set(bytes, 36, bufferSize);
    INT.set(bytes, 40, forwarded);
  }
}
