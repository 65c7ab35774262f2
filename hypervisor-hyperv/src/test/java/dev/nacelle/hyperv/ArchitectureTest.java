// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;

import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;
import dev.nacelle.HypervisorRules;

/** Who may know what. */
@AnalyzeClasses(
    packages = "dev.nacelle.hyperv",
    importOptions = ImportOption.DoNotIncludeTests.class)
class ArchitectureTest {
  @ArchTest
  static final ArchRule RAW_ADDRESSES_STAY_WITH_SYSTEM_CALLS =
      HypervisorRules.rawAddressesStayIn("dev.nacelle.hyperv.sys");

  @ArchTest
  static final ArchRule ONLY_THE_API_AND_THE_SPI_OF_CORE_ARE_KNOWN =
      HypervisorRules.onlyTheApiAndTheSpiOfCoreAreKnown("dev.nacelle.hyperv");

  @ArchTest
  static final ArchRule SYSTEM_CALLS_KNOW_DOCUMENTS_AND_NOTHING_ABOVE =
      classes()
          .that()
          .resideInAPackage("dev.nacelle.hyperv.sys")
          .should()
          .onlyDependOnClassesThat(
              resideInAnyPackage(
                  "dev.nacelle.hyperv.sys",
                  "dev.nacelle.hyperv.schema",
                  "java..",
                  "com.sun.jna..",
                  "org.jspecify.."));

  @ArchTest
  static final ArchRule DOCUMENTS_KNOW_NOTHING_BUT_JSON =
      classes()
          .that()
          .resideInAPackage("dev.nacelle.hyperv.schema")
          .should()
          .onlyDependOnClassesThat(
              resideInAnyPackage(
                  "dev.nacelle.hyperv.schema", "java..", "com.fasterxml..", "org.jspecify.."));

  @ArchTest
  static final ArchRule PACKAGES_HAVE_NO_CYCLES =
      HypervisorRules.packagesHaveNoCycles("dev.nacelle.hyperv");

  @ArchTest
  static final ArchRule THREADS_TAKE_NOTHING_OVER = HypervisorRules.threadsTakeNothingOver();

  @ArchTest
  static final ArchRule LOGGERS_ARE_MADE_WHERE_SOMETHING_IS_LOGGED =
      HypervisorRules.loggersAreMadeWhereSomethingIsLogged();
}
