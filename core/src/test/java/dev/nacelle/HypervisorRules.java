// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static com.tngtech.archunit.base.DescribedPredicate.not;
import static com.tngtech.archunit.core.domain.JavaCall.Predicates.target;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.type;
import static com.tngtech.archunit.core.domain.properties.HasOwner.Predicates.With.owner;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noFields;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.lang.ArchRule;

/** Who may know what in every hypervisor. */
public final class HypervisorRules {
  private HypervisorRules() {}

  /**
   * Nobody but those packages knows raw addresses.
   *
   * @param packages those that do
   */
  public static ArchRule rawAddressesStayIn(String... packages) {
    return noClasses()
        .that()
        .resideOutsideOfPackages(packages)
        .should()
        .dependOnClassesThat(resideInAnyPackage("com.sun.jna..", "sun.misc..", "jdk.internal.."));
  }

  /**
   * Of the core it knows what users know, and what hypervisors implement.
   *
   * @param root its own package
   */
  public static ArchRule onlyTheApiAndTheSpiOfCoreAreKnown(String root) {
    return noClasses()
        .should()
        .dependOnClassesThat(
            resideInAPackage("dev.nacelle..")
                .and(not(resideInAnyPackage(root + "..", "dev.nacelle", "dev.nacelle.spi"))));
  }

  /**
   * No package knows one that knows it.
   *
   * @param root its own package
   */
  public static ArchRule packagesHaveNoCycles(String root) {
    return slices().assignedFrom(new PackageSlices(root)).should().beFreeOfCycles();
  }

  /** No class makes a logger as it is loaded. */
  public static ArchRule loggersAreMadeWhereSomethingIsLogged() {
    return noFields()
        .should()
        .haveRawType(System.Logger.class)
        .because(
            "the first logger looks for a LoggerFinder in every jar of the class path, and starts"
                + " java.util.logging, for which a program's first sandbox need not wait");
  }

  /** A thread inherits nothing from who makes it. */
  public static ArchRule threadsTakeNothingOver() {
    return noClasses()
        .should()
        .callConstructorWhere(target(owner(type(Thread.class))))
        .because("MachineThread inherits nothing from who makes it");
  }
}
