// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import com.sun.jna.Library;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Platform;
import java.util.Map;

/** Loads the system's libraries. */
final class WindowsLibrary {
  /**
   * Of LoadLibraryEx: a library of that name that somebody put beside the program, or where it
   * runs, is not taken for the system's.
   */
  static final int LOAD_LIBRARY_SEARCH_SYSTEM32 = 0x800;

  private WindowsLibrary() {}

  /**
   * Loads one, or finds it loaded.
   *
   * @throws UnsatisfiedLinkError when it is not there
   */
  static NativeLibrary load(String name) {
    return Platform.isWindows()
        ? NativeLibrary.getInstance(
            name, Map.of(Library.OPTION_OPEN_FLAGS, LOAD_LIBRARY_SEARCH_SYSTEM32))
        : NativeLibrary.getInstance(name);
  }
}
