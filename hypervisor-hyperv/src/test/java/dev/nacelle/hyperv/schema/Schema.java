// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** The published schema of one build of Windows: what is not in it is wrong. */
public final class Schema {
  private static final Map<String, Long> MAXIMA =
      Map.of("uint8", 0xffL, "uint16", 0xffffL, "uint32", 0xffff_ffffL, "uint64", Long.MAX_VALUE);

  private record Field(String kind, String type) {}

  private final Map<String, Map<String, Field>> types = new HashMap<>();

  /**
   * @param build the number of the build
   */
  public Schema(String build) throws IOException {
    try (BufferedReader lines =
        new BufferedReader(
            new InputStreamReader(Schema.class.getResourceAsStream("hcs-schema.tsv"), UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        String[] columns = line.split("\t", -1);
        if (!line.startsWith("#") && List.of(columns[4].split(" ")).contains(build)) {
          types
              .computeIfAbsent(columns[0], type -> new HashMap<>())
              .put(columns[1], new Field(columns[2], columns[3]));
        }
      }
    }
    if (types.isEmpty()) {
      throw new IllegalArgumentException("no schema of build " + build);
    }
  }

  /** Whether there is such a field. */
  public boolean has(String type, String field) {
    return types.getOrDefault(type, Map.of()).containsKey(field);
  }

  /** The type of a field, of its items, or of its values. */
  public String type(String type, String field) {
    return types.get(type).get(field).type;
  }

  /** What is wrong with a document of a type; empty where nothing is. */
  public List<String> check(JsonNode document, String type) {
    List<String> problems = new ArrayList<>();
    checkType(document, type, type, problems);
    return problems;
  }

  private void checkType(JsonNode node, String type, String path, List<String> problems) {
    Map<String, Field> fields = types.get(type);
    if (fields == null || !node.isObject()) {
      problems.add(path + " is no " + type);
      return;
    }
    for (Map.Entry<String, JsonNode> property : node.properties()) {
      String at = path + "." + property.getKey();
      Field field = fields.get(property.getKey());
      if (field == null) {
        problems.add(at + " is unknown");
      } else {
        checkField(property.getValue(), field, at, problems);
      }
    }
  }

  private void checkField(JsonNode node, Field field, String path, List<String> problems) {
    switch (field.kind) {
      case "reference" -> checkType(node, field.type, path, problems);
      case "map" -> {
        require(node.isObject(), path, problems);
        node.properties()
            .forEach(
                entry ->
                    checkType(entry.getValue(), field.type, path + "/" + entry.getKey(), problems));
      }
      case "array" -> {
        require(node.isArray(), path, problems);
        node.forEach(item -> checkItem(item, field.type, path + "[]", problems));
      }
      case "boolean" -> require(node.isBoolean(), path, problems);
      case "string" -> checkItem(node, field.type, path, problems);
      default -> {
        long maximum = MAXIMA.getOrDefault(field.kind.replace("integer ", ""), 0L);
        require(
            node.isIntegralNumber() && node.asLong() >= 0 && node.asLong() <= maximum,
            path,
            problems);
      }
    }
  }

  /** A text, of an enumeration where it has a type. */
  private void checkItem(JsonNode node, String type, String path, List<String> problems) {
    require(node.isTextual(), path, problems);
    if (types.containsKey(type)) {
      Field enumeration = types.get(type).get("");
      boolean member =
          enumeration != null && Set.of(enumeration.type.split(",")).contains(node.asText());
      require(member, path, problems);
    }
  }

  private static void require(boolean right, String path, List<String> problems) {
    if (!right) {
      problems.add(path + " has a wrong value");
    }
  }
}
