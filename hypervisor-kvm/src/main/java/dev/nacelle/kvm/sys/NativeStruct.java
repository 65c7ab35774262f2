// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Memory of a fixed size for the argument of a system call: fields are offsets into {@link #bytes}.
 * Made once and used again, because making one costs more than the call. The memory is freed with
 * the object, so whoever passes {@link #address} to the kernel keeps the object reachable until the
 * call has returned.
 */
public class NativeStruct {
  private final ByteBuffer bytes;
  private final long address;

  /**
   * @param size in bytes
   */
  NativeStruct(int size) {
    bytes = ByteBuffer.allocateDirect(size).order(ByteOrder.LITTLE_ENDIAN);
    address = Pointer.nativeValue(Native.getDirectBufferPointer(bytes));
  }

  /** The content, little endian, bounds-checked; zeroed at first. */
  public ByteBuffer bytes() {
    return bytes;
  }

  /** The size in bytes. */
  public int size() {
    return bytes.capacity();
  }

  long address() {
    return address;
  }
}
