// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.oci;

import com.fasterxml.jackson.databind.JsonNode;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;

/**
 * A value of a config.json that knows its name, as "linux.resources.cpu" or "mounts[3]". What is
 * not there is as good as null.
 */
record Json(String name, JsonNode node) {
  private static final BigInteger MAX = BigInteger.ONE.shiftLeft(64).subtract(BigInteger.ONE);

  /** An error about this value. */
  IllegalArgumentException fault(String what) {
    return new IllegalArgumentException(name + ": " + what);
  }

  boolean isThere() {
    return !node.isMissingNode() && !node.isNull();
  }

  /** Whether it is there and says something: neither empty nor false nor 0. */
  boolean saysSomething() {
    return isThere()
        && !(node.isContainerNode() && node.isEmpty())
        && !(node.isTextual() && node.textValue().isEmpty())
        && !(node.isBoolean() && !node.booleanValue());
  }

  Json get(String field) {
    if (isThere() && !node.isObject()) {
      throw fault("it is no object");
    }
    return new Json(name.isEmpty() ? field : name + "." + field, node.path(field));
  }

  Json require(String field) {
    Json value = get(field);
    if (!value.isThere()) {
      throw value.fault("it is required");
    }
    return value;
  }

  String text() {
    if (!node.isTextual()) {
      throw fault("it is no text");
    }
    return node.textValue();
  }

  Optional<String> optionalText() {
    return isThere() && !(node.isTextual() && node.textValue().isEmpty())
        ? Optional.of(text())
        : Optional.empty();
  }

  boolean bool() {
    if (isThere() && !node.isBoolean()) {
      throw fault("it is no boolean");
    }
    return node.asBoolean();
  }

  /** A number with a sign, of 64 bits. */
  long number() {
    if (!node.isIntegralNumber() || !node.canConvertToLong()) {
      throw fault("it is no integer of 64 bits");
    }
    return node.longValue();
  }

  /** A number in a range. */
  long number(long least, long most) {
    long number = number();
    if (number < least || number > most) {
      throw fault(number + " is not between " + least + " and " + most);
    }
    return number;
  }

  /** A number without a sign, of 64 bits. */
  long unsigned() {
    if (!node.isIntegralNumber()
        || node.bigIntegerValue().signum() < 0
        || node.bigIntegerValue().compareTo(MAX) > 0) {
      throw fault("it is no integer of 64 bits without a sign");
    }
    return node.bigIntegerValue().longValue();
  }

  List<Json> list() {
    if (isThere() && !node.isArray()) {
      throw fault("it is no array");
    }
    List<Json> elements = new ArrayList<>();
    for (JsonNode element : node) {
      elements.add(new Json(name + "[" + elements.size() + "]", element));
    }
    return elements;
  }

  List<String> texts() {
    return list().stream().map(Json::text).toList();
  }

  /** The members of an object, in their order. */
  Map<String, Json> members() {
    if (isThere() && !node.isObject()) {
      throw fault("it is no object");
    }
    Map<String, Json> members = new LinkedHashMap<>();
    node.properties()
        .forEach(
            member ->
                members.put(
                    member.getKey(), new Json(name + "." + member.getKey(), member.getValue())));
    return members;
  }

  /** What is made of this value; what it refuses is told with the value's name. */
  <T> T as(Function<Json, T> made) {
    try {
      return made.apply(this);
    } catch (IllegalArgumentException e) {
      String message = String.valueOf(e.getMessage());
      throw message.startsWith(name) ? e : new IllegalArgumentException(name + ": " + message, e);
    }
  }

  /** Refuses a value that says something. */
  void unsupported(String why) {
    if (saysSomething()) {
      throw fault(why);
    }
  }
}
