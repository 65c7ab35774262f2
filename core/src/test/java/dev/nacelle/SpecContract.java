// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkListener;
import java.io.InputStream;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What every specification with a builder keeps to: every setter counts for equality and survives
 * {@code toBuilder()}, {@code removeX(name)} takes back what {@code x(name, ...)} added, and what
 * is an Optional is taken back by null where one setter takes it, and otherwise by {@code
 * removeX()}. What is taken back leaves nothing behind. Setters are found by reflection, so a
 * property is tested from the day it is there; one for whose type there are no samples fails.
 */
public final class SpecContract {
  private static final int A = 0;
  private static final int B = 1;

  /** Two values of each type that setters commonly take. */
  private static final Map<Class<?>, Object[]> SAMPLES =
      Map.ofEntries(
          sample(String.class, "a", "b"),
          sample(String[].class, new String[] {"a"}, new String[] {"b"}),
          sample(byte[].class, new byte[] {1}, new byte[] {2}),
          sample(List.class, List.of("c"), List.of("d")),
          sample(Map.class, Map.of("a", "c"), Map.of("b", "d")),
          sample(boolean.class, true, false),
          sample(int.class, 7, 8),
          sample(long.class, 7L, 8L),
          sample(double.class, 7.0, 8.0),
          sample(Path.class, Path.of("a"), Path.of("b")),
          sample(Path[].class, new Path[] {Path.of("a")}, new Path[] {Path.of("b")}),
          sample(Duration.class, Duration.ofSeconds(7), Duration.ofSeconds(8)),
          sample(DataSize.class, DataSize.mebibytes(40), DataSize.mebibytes(41)),
          sample(Signal.class, Signal.QUIT, Signal.USR1),
          sample(TerminalSize.class, new TerminalSize(1, 2), new TerminalSize(3, 4)),
          sample(InputStream.class, InputStream.nullInputStream(), InputStream.nullInputStream()),
          sample(Stdin.class, Stdin.of(new byte[] {3}), Stdin.of(new byte[] {4})),
          sample(Consumer.class, consumer(), consumer()));

  private final Class<?> spec;
  private final Supplier<?> builder;
  private final Map<String, Object[]> samples = new HashMap<>();

  /**
   * @param builder gives one that can build, with as little said as possible
   */
  public SpecContract(Class<?> spec, Supplier<?> builder) {
    this.spec = spec;
    this.builder = builder;
  }

  private static Map.Entry<Class<?>, Object[]> sample(Class<?> type, Object a, Object b) {
    return Map.entry(type, new Object[] {a, b});
  }

  private static Consumer<byte[]> consumer() {
    return new Consumer<>() {
      @Override
      public void accept(byte[] bytes) {}
    };
  }

  /**
   * What a setter takes instead of the samples of its type.
   *
   * @param position of the parameter, from 0
   */
  public SpecContract with(String setter, int position, Object a, Object b) {
    samples.put(setter + position + type(a), new Object[] {a, b});
    return this;
  }

  private static String type(Object value) {
    return Stream.of(List.class, Map.class, Path.class, Egress.class, NetworkListener.class)
        .filter(type -> type.isInstance(value))
        .findFirst()
        .<Class<?>>map(type -> type)
        .orElse(value.getClass())
        .getSimpleName();
  }

  /** Tests all of it. */
  public void check() throws Exception {
    Object plain = build(builder.get());
    Object fullBuilder = builder.get();
    for (Method setter : setters()) {
      setter.invoke(fullBuilder, arguments(setter, -1));
    }
    Object full = build(fullBuilder);
    for (Method setter : setters()) {
      boolean counts = false;
      for (int choice : new int[] {A, B}) {
        Object builder = this.builder.get();
        setter.invoke(builder, arguments(setter, choice == A ? -1 : 0));
        Object alone = build(builder);
        counts |= !alone.equals(plain);
        assertSame(alone, alone, setter + " alone");
      }
      assertTrue(counts, () -> setter + " makes no difference to the defaults");
      for (int varied = 0; varied < setter.getParameterCount(); varied++) {
        Object changed = derive(full, setter, arguments(setter, varied));
        String what = setter + " with another argument " + varied;
        assertNotEquals(full, changed, what);
        assertNotEquals(full.hashCode(), changed.hashCode(), what);
        assertSame(changed, derive(full, setter, arguments(setter, varied)), what);
      }
      checkRemoval(plain, setter);
    }
    checkOptionals(plain, full);
  }

  /** Both are equal, and so is what is derived from one of them without a change. */
  private void assertSame(Object one, Object other, String what) throws Exception {
    for (Object equal : List.of(other, build(toBuilder(one)))) {
      assertEquals(one, equal, what);
      assertEquals(one.hashCode(), equal.hashCode(), what);
    }
  }

  /** What was added by name is taken back by name. */
  private void checkRemoval(Object plain, Method setter) throws Exception {
    Class<?>[] parameters = setter.getParameterTypes();
    if (parameters.length < 2 || parameters[0] != String.class) {
      return;
    }
    Method remove = remove(setter.getDeclaringClass(), setter.getName(), String.class);
    Object[] arguments = arguments(setter, -1);
    Object added = derive(plain, setter, arguments);
    assertEquals(plain, derive(added, remove, arguments[0]), remove::toString);
  }

  /** What may be absent can be made absent, in one way that compiles. */
  private void checkOptionals(Object plain, Object full) throws Exception {
    for (Method getter : spec.getMethods()) {
      if (getter.getParameterCount() > 0 || !isOptional(getter.getReturnType())) {
        continue;
      }
      String name = getter.getName();
      List<Method> setters =
          setters().stream().filter(method -> method.getName().equals(name)).toList();
      List<Method> single =
          setters.stream().filter(method -> method.getParameterCount() == 1).toList();
      boolean byNull = single.stream().anyMatch(SpecContract::takesNull);
      assertTrue(!byNull || single.size() == 1, () -> "null is ambiguous for " + getter);
      Method takeBack = byNull ? single.get(0) : remove(single.get(0).getDeclaringClass(), name);
      Object[] arguments = new Object[takeBack.getParameterCount()];
      assertNotEquals(empty(getter), getter.invoke(full), getter::toString);
      Object without = derive(full, takeBack, arguments);
      assertEquals(empty(getter), getter.invoke(without), getter::toString);
      assertSame(without, without, "without " + getter);
      for (Method setter : setters) {
        Object with = derive(plain, setter, arguments(setter, setter.getParameterCount() - 1));
        assertEquals(plain, derive(with, takeBack, arguments), setter::toString);
      }
    }
  }

  private static boolean takesNull(Method setter) {
    return setter.getAnnotatedParameterTypes()[0].isAnnotationPresent(Nullable.class);
  }

  private static Method remove(Class<?> builder, String name, Class<?>... parameters)
      throws Exception {
    return builder.getMethod(
        "remove" + Character.toUpperCase(name.charAt(0)) + name.substring(1), parameters);
  }

  private static boolean isOptional(Class<?> type) {
    return type == Optional.class
        || type == OptionalDouble.class
        || type == OptionalInt.class
        || type == OptionalLong.class;
  }

  private static Object empty(Method getter) throws Exception {
    return getter.getReturnType().getMethod("empty").invoke(null);
  }

  private List<Method> setters() throws Exception {
    Class<?> type = builder.get().getClass();
    List<Method> setters = new ArrayList<>();
    for (Method method : type.getMethods()) {
      boolean isSetter =
          method.getDeclaringClass() == type
              && !Modifier.isStatic(method.getModifiers())
              && method.getReturnType() == type
              && !method.getName().startsWith("remove")
              && !method.getName().equals("keep");
      if (isSetter) {
        setters.add(method);
      }
    }
    setters.sort(Comparator.comparing(Method::toString));
    return setters;
  }

  /**
   * The first samples, but for one.
   *
   * @param varied the parameter that gets the second; -1 for none
   */
  private Object[] arguments(Method setter, int varied) {
    Object[] arguments = new Object[setter.getParameterCount()];
    for (int i = 0; i < arguments.length; i++) {
      Class<?> type = setter.getParameterTypes()[i];
      Object[] values = samples.get(setter.getName() + i + type.getSimpleName());
      values = values != null ? values : SAMPLES.get(type);
      values = values != null || !type.isEnum() ? values : type.getEnumConstants();
      if (values == null || values.length < 2) {
        throw new AssertionError("give this test two values for parameter " + i + " of " + setter);
      }
      arguments[i] = values[i == varied ? B : A];
    }
    return arguments;
  }

  private Object derive(Object from, Method change, @Nullable Object... arguments)
      throws Exception {
    Object builder = toBuilder(from);
    change.invoke(builder, arguments);
    return build(builder);
  }

  private Object toBuilder(Object from) throws Exception {
    return spec.getMethod("toBuilder").invoke(from);
  }

  private static Object build(Object builder) throws Exception {
    return builder.getClass().getMethod("build").invoke(builder);
  }
}
