// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import com.sun.jna.Native;
import com.sun.jna.Pointer;
import org.jspecify.annotations.Nullable;

/** Functions of kernel32.dll. */
final class Kernel32 {
  static final int HANDLE_FLAG_INHERIT = 1;

  static {
    Native.register(Kernel32.class, WindowsLibrary.load("kernel32"));
  }

  private Kernel32() {}

  /** Null when it was freed. */
  static native @Nullable Pointer LocalFree(Pointer memory);

  static native int SetHandleInformation(Pointer handle, int mask, int flags);
}
