// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.seccomp;

import dev.nacelle.container.Capability;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.container.SeccompProfile;
import dev.nacelle.container.SeccompProfile.Architecture;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;

/**
 * Filters of the processes of one kernel; the last few are kept. Safe for use from several threads.
 */
public final class SeccompFilters {
  private static final int KEPT = 8;

  private record Key(SeccompProfile profile, Set<Capability> bounding) {}

  private final String kernelRelease;
  private final Set<Architecture> architectures;
  private final Map<Key, byte[]> filters = new LinkedHashMap<>();

  /**
   * @param kernelRelease as {@code uname -r} prints it
   * @param hasBuiltIn whether an option of that name, without CONFIG_, is known to be built in
   */
  public SeccompFilters(String kernelRelease, Predicate<String> hasBuiltIn) {
    this.kernelRelease = kernelRelease;
    architectures = EnumSet.allOf(Architecture.class);
    // Otherwise nothing is known of its options.
    if (hasBuiltIn.test("X86_64")) {
      if (!hasBuiltIn.test("IA32_EMULATION")) {
        architectures.remove(Architecture.X86);
      }
      // The first is its name since Linux 5.18.
      if (!hasBuiltIn.test("X86_X32_ABI") && !hasBuiltIn.test("X86_X32")) {
        architectures.remove(Architecture.X32);
      }
    }
  }

  /**
   * The filter of a process, as {@link SeccompCompiler#compile} makes it; empty where there is none
   * to be.
   *
   * @throws IllegalArgumentException when the profile is too large for the kernel
   */
  public byte[] of(ProcessSecurity security) {
    if (security.seccomp().equals(SeccompProfile.UNCONFINED)) {
      return new byte[0];
    }
    Key key = new Key(security.seccomp(), security.capabilities().bounding());
    synchronized (filters) {
      byte[] filter = filters.remove(key);
      if (filter == null) {
        filter = SeccompCompiler.compile(key.profile, key.bounding, kernelRelease, architectures);
      }
      filters.put(key, filter);
      filters.keySet().stream()
          .limit(Math.max(0, filters.size() - KEPT))
          .toList()
          .forEach(filters::remove);
      return filter;
    }
  }
}
