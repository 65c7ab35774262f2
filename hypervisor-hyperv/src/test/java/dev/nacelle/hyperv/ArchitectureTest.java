// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import static com.tngtech.archunit.base.DescribedPredicate.not;
import static com.tngtech.archunit.core.domain.JavaCall.Predicates.target;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.type;
import static com.tngtech.archunit.core.domain.properties.HasOwner.Predicates.With.owner;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;
import dev.nacelle.PackageSlices;

/** Who may know what. */
@AnalyzeClasses(
    packages = "dev.nacelle.hyperv",
    importOptions = ImportOption.DoNotIncludeTests.class)
class ArchitectureTest {
  @ArchTest
  static final ArchRule RAW_ADDRESSES_STAY_WITH_SYSTEM_CALLS =
      noClasses()
          .that()
          .resideOutsideOfPackage("dev.nacelle.hyperv.sys")
          .should()
          .dependOnClassesThat(resideInAnyPackage("com.sun.jna..", "sun.misc..", "jdk.internal.."));

  @ArchTest
  static final ArchRule ONLY_THE_API_AND_THE_SPI_OF_CORE_ARE_KNOWN =
      noClasses()
          .should()
          .dependOnClassesThat(
              resideInAPackage("dev.nacelle..")
                  .and(
                      not(
                          resideInAnyPackage(
                              "dev.nacelle.hyperv..", "dev.nacelle", "dev.nacelle.spi"))));

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
      slices().assignedFrom(new PackageSlices("dev.nacelle.hyperv")).should().beFreeOfCycles();

  @ArchTest
  static final ArchRule THREADS_TAKE_NOTHING_OVER =
      noClasses()
          .should()
          .callConstructorWhere(target(owner(type(Thread.class))))
          .because("MachineThread inherits nothing from who makes it");
}
