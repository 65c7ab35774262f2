// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.library.dependencies.SliceAssignment;
import com.tngtech.archunit.library.dependencies.SliceIdentifier;

/** Each package on its own, for rules against circles: the root and those below others, too. */
public final class PackageSlices implements SliceAssignment {
  private final String root;

  /**
   * @param root such as {@code dev.nacelle.kvm}
   */
  public PackageSlices(String root) {
    this.root = root;
  }

  @Override
  public SliceIdentifier getIdentifierOf(JavaClass type) {
    return (type.getPackageName() + ".").startsWith(root + ".")
        ? SliceIdentifier.of(type.getPackageName())
        : SliceIdentifier.ignore();
  }

  @Override
  public String getDescription() {
    return "packages";
  }
}
