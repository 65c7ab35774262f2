// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import java.util.Comparator;

/** A version of the schema. Of one major version, a lower minor one is a part of a higher. */
public record Version(int major, int minor) implements Comparable<Version> {
  @Override
  public int compareTo(Version other) {
    return Comparator.comparingInt(Version::major)
        .thenComparingInt(Version::minor)
        .compare(this, other);
  }

  @Override
  public String toString() {
    return major + "." + minor;
  }
}
