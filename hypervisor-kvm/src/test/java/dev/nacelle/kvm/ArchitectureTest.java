// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;
import dev.nacelle.HypervisorRules;

/** Who may know what. */
@AnalyzeClasses(packages = "dev.nacelle.kvm", importOptions = ImportOption.DoNotIncludeTests.class)
class ArchitectureTest {
  @ArchTest
  static final ArchRule RAW_ADDRESSES_STAY_WITH_SYSTEM_CALLS_AND_MEMORY =
      HypervisorRules.rawAddressesStayIn("dev.nacelle.kvm.sys", "dev.nacelle.kvm.memory");

  @ArchTest
  static final ArchRule ONLY_THE_API_AND_THE_SPI_OF_CORE_ARE_KNOWN =
      HypervisorRules.onlyTheApiAndTheSpiOfCoreAreKnown("dev.nacelle.kvm");

  @ArchTest
  static final ArchRule SYSTEM_CALLS_KNOW_NOTHING_ABOVE_THEM =
      classes()
          .that()
          .resideInAPackage("dev.nacelle.kvm.sys")
          .should()
          .onlyDependOnClassesThat(
              resideInAnyPackage(
                  "dev.nacelle.kvm.sys", "java..", "com.sun.jna..", "org.jspecify.."));

  @ArchTest
  static final ArchRule DEVICES_DO_NOT_KNOW_THE_MACHINE =
      noClasses()
          .that()
          .resideInAPackage("dev.nacelle.kvm.device..")
          .should()
          .dependOnClassesThat(
              resideInAnyPackage(
                  "dev.nacelle.kvm",
                  "dev.nacelle.kvm.acpi",
                  "dev.nacelle.kvm.boot",
                  "dev.nacelle.kvm.platform",
                  "dev.nacelle.kvm.vcpu"));

  @ArchTest
  static final ArchRule PACKAGES_HAVE_NO_CYCLES =
      HypervisorRules.packagesHaveNoCycles("dev.nacelle.kvm");

  @ArchTest
  static final ArchRule THREADS_TAKE_NOTHING_OVER = HypervisorRules.threadsTakeNothingOver();

  @ArchTest
  static final ArchRule LOGGERS_ARE_MADE_WHERE_SOMETHING_IS_LOGGED =
      HypervisorRules.loggersAreMadeWhereSomethingIsLogged();
}
