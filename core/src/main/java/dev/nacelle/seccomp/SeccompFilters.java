// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.seccomp;

import dev.nacelle.container.Capability;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.container.SeccompProfile;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * Filters of the processes of one kernel; the last few are kept. Safe for use from several threads.
 */
public final class SeccompFilters {
  private static final int KEPT = 8;

  private record Key(SeccompProfile profile, Set<Capability> bounding) {}

  private final String kernelRelease;
  private final Map<Key, byte[]> filters = new LinkedHashMap<>();

  /**
   * @param kernelRelease as {@code uname -r} prints it
   */
  public SeccompFilters(String kernelRelease) {
    this.kernelRelease = kernelRelease;
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
        filter = SeccompCompiler.compile(key.profile, key.bounding, kernelRelease);
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
