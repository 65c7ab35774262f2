// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.core.domain.JavaCall.Predicates.target;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.type;
import static com.tngtech.archunit.core.domain.properties.HasOwner.Predicates.With.owner;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaCodeUnit;
import com.tngtech.archunit.core.domain.JavaField;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.domain.JavaType;
import com.tngtech.archunit.core.importer.ImportOption.DoNotIncludeTests;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ArchRule;
import com.tngtech.archunit.lang.ConditionEvents;
import com.tngtech.archunit.lang.SimpleConditionEvent;
import dev.nacelle.internal.LibraryThread;
import dev.nacelle.spi.MachineThread;
import io.netty.util.concurrent.DefaultThreadFactory;
import java.io.InputStream;
import java.lang.module.ModuleDescriptor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.Timer;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Who may know what, as the build enforces it. */
@AnalyzeClasses(packages = "dev.nacelle", importOptions = DoNotIncludeTests.class)
class ArchitectureTest {
  private static final Set<String> EXPORTED =
      Set.of(
          "dev.nacelle",
          "dev.nacelle.container",
          "dev.nacelle.files",
          "dev.nacelle.image",
          "dev.nacelle.kernel",
          "dev.nacelle.network",
          "dev.nacelle.oci",
          "dev.nacelle.spi");

  /** What anybody may see in a signature: the JDK, ourselves, and annotations of nullness. */
  private static final DescribedPredicate<JavaClass> OURS =
      describe(
          "a type of the JDK's or of the public API",
          type ->
              type.isPrimitive()
                  || type.getPackageName().startsWith("java.")
                  || type.getPackageName().startsWith("javax.")
                  || EXPORTED.contains(type.getPackageName()));

  @ArchTest
  static final ArchRule loggersAreMadeWhereSomethingIsLogged =
      HypervisorRules.loggersAreMadeWhereSomethingIsLogged();

  @ArchTest
  static final ArchRule threadsTakeNothingOver =
      noClasses()
          .that()
          .doNotBelongToAnyOf(LibraryThread.class, MachineThread.class)
          .should()
          .callConstructorWhere(target(owner(type(Thread.class))))
          .orShould()
          .dependOnClassesThat()
          .belongToAnyOf(DefaultThreadFactory.class, Timer.class)
          .because("LibraryThread and MachineThread inherit nothing from who makes them");

  @ArchTest
  static final ArchRule coreKnowsNoHypervisor =
      noClasses()
          .that()
          .resideInAPackage("dev.nacelle..")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage("dev.nacelle.kvm..", "dev.nacelle.hyperv..", "com.sun.jna..");

  @ArchTest
  static final ArchRule onlyTheAgentsClientKnowsItsWireFormat =
      noClasses()
          .that()
          .resideInAPackage("dev.nacelle..")
          .and()
          .resideOutsideOfPackages("dev.nacelle.agent..", "dev.nacelle.proto..")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage(
              "io.grpc..", "io.netty..", "com.google.protobuf..", "dev.nacelle.proto..");

  @ArchTest
  static final ArchRule publicSignaturesShowNoDependency =
      classes()
          .that(describe("are public and exported", ArchitectureTest::isPublicApi))
          .should(showOnly(OURS));

  @ArchTest
  static final ArchRule exceptionsCanBeMadeByTheTestsOfThoseWhoCatchThem =
      classes()
          .that()
          .areAssignableTo(NacelleException.class)
          .and(describe("are public and exported", ArchitectureTest::isPublicApi))
          .should(havePublicConstructors());

  @ArchTest
  static final ArchRule whatAHypervisorImplementsKnowsTheApiOnly =
      noClasses()
          .that()
          .resideInAPackage("dev.nacelle.spi")
          .should()
          .dependOnClassesThat(
              describe(
                  "of core, other than the API's and checks of values",
                  type ->
                      type.getPackageName().startsWith("dev.nacelle")
                          && !Set.of("dev.nacelle", "dev.nacelle.spi", "dev.nacelle.internal.check")
                              .contains(type.getPackageName())));

  @ArchTest
  static final ArchRule vocabulariesKnowNoEngine =
      noClasses()
          .that()
          .resideInAnyPackage(
              "dev.nacelle",
              "dev.nacelle.container",
              "dev.nacelle.files",
              "dev.nacelle.image",
              "dev.nacelle.kernel",
              "dev.nacelle.network")
          .should()
          .dependOnClassesThat(
              describe(
                  "of core, other than vocabularies and checks of values",
                  type ->
                      type.getPackageName().startsWith("dev.nacelle")
                          && !Set.of(
                                  "dev.nacelle",
                                  "dev.nacelle.container",
                                  "dev.nacelle.files",
                                  "dev.nacelle.image",
                                  "dev.nacelle.kernel",
                                  "dev.nacelle.network",
                                  "dev.nacelle.internal.check")
                              .contains(type.getPackageName())));

  @ArchTest
  static final ArchRule theExt4WriterStandsAlone =
      classes()
          .that()
          .resideInAPackage("dev.nacelle.image.ext4")
          .should()
          .onlyDependOnClassesThat()
          .resideInAnyPackage(
              "dev.nacelle.image.ext4", "java..", "com.google.common..", "org.jspecify..");

  @ArchTest
  static final ArchRule theTarReaderKnowsTheWritersTypesOnly =
      classes()
          .that()
          .resideInAPackage("dev.nacelle.image.tar")
          .should()
          .onlyDependOnClassesThat()
          .resideInAnyPackage(
              "dev.nacelle.image.tar", "dev.nacelle.image.ext4", "java..", "org.jspecify..");

  @ArchTest
  static final ArchRule packagesHaveNoCycles =
      slices().assignedFrom(new PackageSlices("dev.nacelle")).should().beFreeOfCycles();

  @ArchTest
  static final ArchRule nothingEndsTheProcessOrHooksIntoItsEnd =
      noClasses()
          .that()
          .resideInAPackage("dev.nacelle..")
          .should()
          .callMethod(System.class, "exit", int.class)
          .orShould()
          .callMethod(Runtime.class, "exit", int.class)
          .orShould()
          .callMethod(Runtime.class, "halt", int.class)
          .orShould()
          .callMethod(Runtime.class, "addShutdownHook", Thread.class);

  @Test
  void moduleExportsThePublicPackagesAndNoOther() throws Exception {
    // By its place, for others on the class path are modules, too.
    Path classes =
        Path.of(Nacelle.class.getProtectionDomain().getCodeSource().getLocation().toURI());
    try (InputStream descriptor = Files.newInputStream(classes.resolve("module-info.class"))) {
      Set<String> exported =
          ModuleDescriptor.read(descriptor).exports().stream()
              .filter(export -> !export.isQualified())
              .map(ModuleDescriptor.Exports::source)
              .collect(Collectors.toCollection(TreeSet::new));
      assertEquals(new TreeSet<>(EXPORTED), exported);
    }
  }

  private static boolean isPublicApi(JavaClass type) {
    return EXPORTED.contains(type.getPackageName())
        && type.getModifiers().contains(JavaModifier.PUBLIC)
        && type.getEnclosingClass().map(ArchitectureTest::isPublicApi).orElse(true);
  }

  private static boolean isVisible(Set<JavaModifier> modifiers) {
    return modifiers.contains(JavaModifier.PUBLIC) || modifiers.contains(JavaModifier.PROTECTED);
  }

  private static ArchCondition<JavaClass> havePublicConstructors() {
    return new ArchCondition<>("have public constructors only") {
      @Override
      public void check(JavaClass type, ConditionEvents events) {
        for (JavaCodeUnit constructor : type.getConstructors()) {
          boolean isPublic = constructor.getModifiers().contains(JavaModifier.PUBLIC);
          events.add(new SimpleConditionEvent(constructor, isPublic, constructor.getDescription()));
        }
      }
    };
  }

  private static ArchCondition<JavaClass> showOnly(DescribedPredicate<JavaClass> allowed) {
    return new ArchCondition<>("show in their signatures only " + allowed.getDescription()) {
      @Override
      public void check(JavaClass type, ConditionEvents events) {
        Stream<Shown> supertypes =
            Stream.concat(type.getSuperclass().stream(), type.getInterfaces().stream())
                .map(shown -> new Shown(type.getName() + " extends", shown));
        Stream<Shown> fields =
            type.getFields().stream()
                .filter(field -> isVisible(field.getModifiers()))
                .map((JavaField field) -> new Shown(field.getFullName(), field.getType()));
        Stream<Shown> codeUnits =
            type.getCodeUnits().stream()
                .filter(unit -> isVisible(unit.getModifiers()))
                .flatMap(ArchitectureTest::signature);
        Stream.of(supertypes, fields, codeUnits)
            .flatMap(shown -> shown)
            .forEach(
                shown ->
                    shown.type().getAllInvolvedRawTypes().stream()
                        .map(JavaClass::getBaseComponentType)
                        .filter(allowed.negate())
                        .forEach(
                            foreign ->
                                events.add(
                                    SimpleConditionEvent.violated(
                                        type, shown.where() + " shows " + foreign.getName()))));
      }
    };
  }

  /** A type, and the member in whose signature it stands. */
  private record Shown(String where, JavaType type) {}

  private static Stream<Shown> signature(JavaCodeUnit unit) {
    return Stream.of(
            Stream.of(unit.getReturnType()),
            unit.getParameterTypes().stream(),
            unit.getExceptionTypes().stream().map(type -> (JavaType) type))
        .flatMap(types -> types)
        .map(type -> new Shown(unit.getFullName(), type));
  }
}
