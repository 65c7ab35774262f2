// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.io.InputStream;
import java.lang.module.ModuleDescriptor;
import java.lang.reflect.AnnotatedType;
import java.lang.reflect.Executable;
import java.lang.reflect.Field;
import java.lang.reflect.Member;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.TypeVariable;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * The public API is what is listed in api.txt: one that changes by accident is found here. Until
 * there is a release, japicmp and its like have nothing to compare with; a list is read in a
 * review.
 */
class PublicApiTest {
  private static final String NAME = "src/test/resources/dev/nacelle/api.txt";

  private static final Predicate<String> TAKES_OPTIONAL =
      Pattern.compile("\\(.*java\\.util\\.Optional").asPredicate();

  /** A factory of a value, or of a builder of one; the type, as it is indented. */
  private static final Pattern VALUE =
      Pattern.compile(
          "(  (dev\\.nacelle\\.(?!Nacelle:)[\\w.$]+)): public static \\2(\\$Builder)? (of|builder)\\(.*");

  private static final Path LIST = Path.of(System.getProperty("basedir", ""), NAME);

  @Test
  void isAsListed() throws Exception {
    List<String> now = list();
    if (System.getProperty("api.update") != null) {
      Files.write(LIST, now);
      return;
    }
    List<String> listed;
    try {
      listed = Files.readAllLines(LIST);
    } catch (NoSuchFileException e) {
      listed = List.of();
    }
    Set<String> gone = minus(listed, now);
    Set<String> added = minus(now, listed);
    if (!gone.isEmpty() || !added.isEmpty()) {
      fail(
          "The public API is not as it is listed in core/"
              + NAME
              + ".\nGone, which breaks who uses it:\n  "
              + String.join("\n  ", gone)
              + "\nNew, and to be kept from now on:\n  "
              + String.join("\n  ", added)
              + "\nIf that is meant, run core/update-api, and tell users in CHANGELOG.md.");
    }
  }

  /** What hypervisors implement is no business of a program that uses them. */
  @Test
  void usersTypesNameNothingOfHypervisors() throws Exception {
    List<String> named =
        list().stream()
            .filter(line -> !line.startsWith("dev.nacelle.spi", line.indexOf("dev.nacelle.")))
            .filter(line -> line.contains("dev.nacelle.spi"))
            .toList();
    assertEquals(List.of(), named);
  }

  @Test
  void whatTakesSeveralValuesTakesAList() throws Exception {
    List<String> lines = list().stream().map(line -> line.replace("@Nullable ", "")).toList();
    List<String> alone =
        lines.stream()
            .filter(line -> line.endsWith("[])") && !line.endsWith("byte[])"))
            .filter(
                line ->
                    !lines.contains(
                        line.replaceFirst("([\\w.]+)\\[\\]\\)$", "java.util.List<$1>)")))
            .toList();
    assertEquals(List.of(), alone);
  }

  @Test
  void nothingTakesAnOptional() throws Exception {
    assertEquals(List.of(), list().stream().filter(line -> TAKES_OPTIONAL.test(line)).toList());
  }

  /** Programs' tests compare what they made with what they got. */
  @Test
  void valuesAreEqualByWhatTheySay() throws Exception {
    List<String> lines = list();
    List<String> without =
        lines.stream()
            .map(VALUE::matcher)
            .filter(Matcher::matches)
            .map(value -> value.group(1))
            .distinct()
            .filter(type -> !lines.contains(type + ": public boolean equals(@Nullable Object)"))
            .filter(type -> !lines.contains(type + ": public boolean equals(Object)"))
            .toList();
    assertEquals(List.of(), without);
  }

  private static Set<String> minus(List<String> these, List<String> those) {
    Set<String> left = new LinkedHashSet<>(these);
    those.forEach(left::remove);
    return left;
  }

  /** A line for each type and member, which names all that a program that uses it depends on. */
  private static List<String> list() throws Exception {
    Path classes =
        Path.of(Nacelle.class.getProtectionDomain().getCodeSource().getLocation().toURI());
    List<String> lines = new ArrayList<>();
    try (InputStream descriptor = Files.newInputStream(classes.resolve("module-info.class"))) {
      List<String> exported =
          ModuleDescriptor.read(descriptor).exports().stream()
              .filter(export -> !export.isQualified())
              .map(ModuleDescriptor.Exports::source)
              .sorted()
              .toList();
      for (String name : exported) {
        for (Class<?> type : types(classes, name)) {
          lines.add(describe(type));
          lines.addAll(members(type));
        }
      }
    }
    return lines;
  }

  private static List<Class<?>> types(Path classes, String name) throws IOException {
    try (Stream<Path> files = Files.list(classes.resolve(name.replace('.', '/')))) {
      return files
          .map(file -> file.getFileName().toString())
          .filter(file -> file.endsWith(".class") && !file.equals("package-info.class"))
          .map(file -> name + "." + file.substring(0, file.length() - ".class".length()))
          .sorted()
          .<Class<?>>map(PublicApiTest::load)
          .filter(PublicApiTest::isVisible)
          .toList();
    }
  }

  private static Class<?> load(String name) {
    try {
      return Class.forName(name, false, PublicApiTest.class.getClassLoader());
    } catch (ClassNotFoundException e) {
      throw new AssertionError(e);
    }
  }

  private static boolean isVisible(Class<?> type) {
    return !type.isAnonymousClass()
        && !type.isLocalClass()
        && isVisible(type.getModifiers())
        && (type.getDeclaringClass() == null || isVisible(type.getDeclaringClass()));
  }

  private static boolean isVisible(int modifiers) {
    return Modifier.isPublic(modifiers) || Modifier.isProtected(modifiers);
  }

  private static String describe(Class<?> type) {
    String kind =
        type.isAnnotation()
            ? "@interface"
            : type.isInterface()
                ? "interface"
                : type.isEnum() ? "enum" : type.isRecord() ? "record" : "class";
    int modifiers = type.getModifiers() & ~Modifier.INTERFACE;
    if (type.isEnum() || type.isInterface()) {
      modifiers &= ~(Modifier.ABSTRACT | Modifier.STATIC | Modifier.FINAL);
    }
    StringBuilder line = new StringBuilder(words(Modifier.toString(modifiers), kind));
    line.append(' ').append(type.getName()).append(variables(type.getTypeParameters()));
    AnnotatedType superclass = type.getAnnotatedSuperclass();
    if (superclass != null && superclass.getType() != Object.class && kind.equals("class")) {
      line.append(" extends ").append(name(superclass));
    }
    if (type.getAnnotatedInterfaces().length > 0) {
      line.append(type.isInterface() ? " extends " : " implements ")
          .append(names(type.getAnnotatedInterfaces()));
    }
    if (type.isSealed()) {
      line.append(
          Arrays.stream(type.getPermittedSubclasses())
              .map(Class::getName)
              .sorted()
              .collect(Collectors.joining(", ", " permits ", "")));
    }
    return line.toString();
  }

  private static Set<String> members(Class<?> type) {
    Set<String> members = new TreeSet<>();
    // What a hidden superclass has is as good as the type's own.
    for (Class<?> from = type;
        from != null && (from == type || !isVisible(from));
        from = from.getSuperclass()) {
      Arrays.stream(from.getDeclaredFields())
          .filter(PublicApiTest::isVisible)
          .forEach(field -> members.add(line(type, field, describe(field))));
      Arrays.stream(from.getDeclaredMethods())
          .filter(PublicApiTest::isVisible)
          .filter(method -> !method.isBridge())
          .forEach(method -> members.add(line(type, method, describe(method))));
    }
    Arrays.stream(type.getDeclaredConstructors())
        .filter(PublicApiTest::isVisible)
        .forEach(made -> members.add(line(type, made, "new" + signature(made))));
    return members;
  }

  private static boolean isVisible(Member member) {
    return isVisible(member.getModifiers()) && !member.isSynthetic();
  }

  private static String line(Class<?> type, Member member, String description) {
    int modifiers =
        member.getModifiers()
            & (Modifier.PUBLIC
                | Modifier.PROTECTED
                | Modifier.STATIC
                | Modifier.ABSTRACT
                | Modifier.FINAL);
    if (type.isInterface() || Modifier.isFinal(type.getModifiers())) {
      modifiers &= member instanceof Method ? ~Modifier.FINAL : ~0;
    }
    return "  " + type.getName() + ": " + words(Modifier.toString(modifiers), description);
  }

  private static String describe(Field field) {
    return field.isEnumConstant()
        ? "constant " + field.getName()
        : name(field.getAnnotatedType()) + " " + field.getName();
  }

  private static String describe(Method method) {
    return (method.isDefault() ? "default " : "")
        + (method.getTypeParameters().length > 0 ? variables(method.getTypeParameters()) + " " : "")
        + name(method.getAnnotatedReturnType())
        + " "
        + method.getName()
        + signature(method);
  }

  private static String signature(Executable executable) {
    String parameters = "(" + names(executable.getAnnotatedParameterTypes()) + ")";
    AnnotatedType[] thrown = executable.getAnnotatedExceptionTypes();
    return thrown.length == 0 ? parameters : parameters + " throws " + names(thrown);
  }

  private static String variables(TypeVariable<?>[] variables) {
    return variables.length == 0
        ? ""
        : Arrays.stream(variables)
            .map(
                variable -> {
                  String bounds = names(variable.getAnnotatedBounds()).replace(", ", " & ");
                  return bounds.equals("Object")
                      ? variable.getName()
                      : variable.getName() + " extends " + bounds;
                })
            .collect(Collectors.joining(", ", "<", ">"));
  }

  private static String names(AnnotatedType[] types) {
    return Arrays.stream(types).map(PublicApiTest::name).collect(Collectors.joining(", "));
  }

  private static String name(AnnotatedType type) {
    return type.toString()
        .replaceAll("@org\\.jspecify\\.annotations\\.(\\w+)\\(\\)", "@$1")
        .replaceAll("\\bjava\\.lang\\.(?=[@A-Z])", "");
  }

  private static String words(String... words) {
    return Arrays.stream(words).filter(word -> !word.isEmpty()).collect(Collectors.joining(" "));
  }
}
