// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.nacelle.container.SeccompAction.Kind;
import dev.nacelle.container.SeccompProfile.Architecture;
import dev.nacelle.container.SeccompProfile.Flag;
import dev.nacelle.container.SeccompRule.Comparison;
import dev.nacelle.container.SeccompRule.Condition;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Reads profiles. */
final class SeccompJson {
  private static final int EPERM = 1;
  private static final BigInteger MAX_VALUE = BigInteger.ONE.shiftLeft(64).subtract(BigInteger.ONE);

  private SeccompJson() {}

  static SeccompProfile parse(String json) {
    try {
      return parse(new ObjectMapper().readTree(json));
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("not JSON: " + e.getOriginalMessage(), e);
    }
  }

  private static SeccompProfile parse(JsonNode json) {
    if (!json.isObject()) {
      throw new IllegalArgumentException("a seccomp profile is an object");
    }
    SeccompAction defaultAction =
        action(json, "defaultAction", json.get("defaultErrnoRet"), "defaultErrnoRet");
    Set<Architecture> architectures = EnumSet.noneOf(Architecture.class);
    Consumer<String> add = name -> architecture(name).ifPresent(architectures::add);
    texts(json, "architectures").forEach(add);
    for (JsonNode map : list(json, "archMap")) {
      if (architecture(text(map, "architecture")).equals(Optional.of(Architecture.X86_64))) {
        texts(map, "subArchitectures").forEach(add);
      }
    }
    Set<Flag> flags = EnumSet.noneOf(Flag.class);
    for (String name : texts(json, "flags")) {
      flags.add(constant(Flag.class, "flags", name, "SECCOMP_FILTER_FLAG_"));
    }
    List<SeccompRule> rules = new ArrayList<>();
    for (JsonNode rule : list(json, "syscalls")) {
      rule(rule).ifPresent(rules::add);
    }
    return SeccompProfile.of(defaultAction, architectures, flags, rules);
  }

  private static Optional<SeccompRule> rule(JsonNode json) {
    List<String> names = new ArrayList<>(texts(json, "names"));
    if (json.has("name")) {
      names.add(text(json, "name"));
    }
    if (names.isEmpty()) {
      throw new IllegalArgumentException("syscalls.names is empty");
    }
    JsonNode includes = json.path("includes");
    JsonNode excludes = json.path("excludes");
    List<String> only = texts(includes, "arches");
    boolean isForOthers =
        (!only.isEmpty() && only.stream().noneMatch(SeccompJson::isOurs))
            || texts(excludes, "arches").stream().anyMatch("amd64"::equals);
    if (isForOthers) {
      return Optional.empty();
    }
    List<Condition> conditions = new ArrayList<>();
    for (JsonNode condition : list(json, "args")) {
      conditions.add(
          new Condition(
              (int) number(condition, "index", 5),
              constant(Comparison.class, "args.op", text(condition, "op"), "SCMP_CMP_"),
              value(condition, "value"),
              value(condition, "valueTwo")));
    }
    return Optional.of(
        new SeccompRule(
            names,
            action(json, "action", json.get("errnoRet"), "errnoRet"),
            conditions,
            capabilities(includes),
            capabilities(excludes),
            includes.path("minKernel").asText("")));
  }

  /** As Go names them. */
  private static boolean isOurs(String architecture) {
    return List.of("amd64", "x32", "x86").contains(architecture);
  }

  private static Set<Capability> capabilities(JsonNode json) {
    Set<Capability> capabilities = EnumSet.noneOf(Capability.class);
    texts(json, "caps").forEach(name -> capabilities.add(Capability.parse(name)));
    return capabilities;
  }

  /** One of another processor's is of no use here, and no harm. */
  private static Optional<Architecture> architecture(String name) {
    return switch (name) {
      case "SCMP_ARCH_X86_64" -> Optional.of(Architecture.X86_64);
      case "SCMP_ARCH_X32" -> Optional.of(Architecture.X32);
      case "SCMP_ARCH_X86" -> Optional.of(Architecture.X86);
      default -> Optional.empty();
    };
  }

  private static SeccompAction action(
      JsonNode json, String field, @Nullable JsonNode errno, String errnoField) {
    String name = text(json, field);
    Kind kind =
        name.equals("SCMP_ACT_KILL")
            ? Kind.KILL_THREAD
            : name.equals("SCMP_ACT_NOTIFY")
                ? notify(field)
                : constant(Kind.class, field, name, "SCMP_ACT_");
    boolean takesNumber = kind == Kind.ERRNO || kind == Kind.TRACE;
    if (errno != null && !errno.isNull() && !takesNumber) {
      throw new IllegalArgumentException(errnoField + " is not for the action " + name);
    }
    boolean isGiven = errno != null && !errno.isNull();
    int value = !takesNumber ? 0 : isGiven ? (int) number(json, errnoField, 4095) : EPERM;
    return new SeccompAction(kind, value);
  }

  private static Kind notify(String field) {
    throw new IllegalArgumentException(
        field + " SCMP_ACT_NOTIFY needs a supervisor in the guest, which there is not");
  }

  private static <E extends Enum<E>> E constant(
      Class<E> type, String field, String name, String prefix) {
    for (E constant : type.getEnumConstants()) {
      if (name.equals(prefix + constant.name())) {
        return constant;
      }
    }
    throw new IllegalArgumentException(field + " has no value " + name);
  }

  private static String text(JsonNode json, String field) {
    JsonNode value = json.path(field);
    if (!value.isTextual()) {
      throw new IllegalArgumentException(field + " is missing, or no text");
    }
    return value.textValue();
  }

  private static List<JsonNode> list(JsonNode json, String field) {
    JsonNode value = json.path(field);
    if (!value.isArray() && !value.isMissingNode() && !value.isNull()) {
      throw new IllegalArgumentException(field + " is no array");
    }
    List<JsonNode> elements = new ArrayList<>();
    value.forEach(elements::add);
    return elements;
  }

  private static List<String> texts(JsonNode json, String field) {
    List<String> texts = new ArrayList<>();
    for (JsonNode element : list(json, field)) {
      if (!element.isTextual()) {
        throw new IllegalArgumentException(field + " holds what is no text");
      }
      texts.add(element.textValue());
    }
    return texts;
  }

  private static long number(JsonNode json, String field, long most) {
    long number = value(json, field);
    if (number < 0 || number > most) {
      throw new IllegalArgumentException(field + " is not between 0 and " + most);
    }
    return number;
  }

  /** A uint64; 0 where it is not there. */
  private static long value(JsonNode json, String field) {
    JsonNode value = json.path(field);
    if (value.isMissingNode() || value.isNull()) {
      return 0;
    }
    if (!value.isIntegralNumber()
        || value.bigIntegerValue().signum() < 0
        || value.bigIntegerValue().compareTo(MAX_VALUE) > 0) {
      throw new IllegalArgumentException(field + " is no number of 64 bits without a sign");
    }
    return value.bigIntegerValue().longValue();
  }
}
