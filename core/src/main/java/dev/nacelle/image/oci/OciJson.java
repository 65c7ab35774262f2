// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.oci;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.TextNode;
import dev.nacelle.ImageException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * An object of a JSON document from somewhere else. Every access checks the type, and a fault is an
 * ImageException that says where in which document it is. A null is the same as nothing, as in Go.
 */
public final class OciJson {
  /** Of what is read here, nothing is deeper than 8; what nobody reads may be anything. */
  private static final int MAX_DEPTH = 1_000;

  private static final JsonMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(MAX_DEPTH)
                          .maxNumberLength(1_000)
                          .build())
                  .build())
          .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  static final OciJson EMPTY = new OciJson("", "", MAPPER.createObjectNode());

  private final String document;
  private final String pointer;
  private final JsonNode node;

  private OciJson(String document, String pointer, JsonNode node) {
    this.document = document;
    this.pointer = pointer;
    this.node = node;
  }

  /**
   * The object that is the whole document.
   *
   * @param document what to call it in errors
   */
  public static OciJson parse(byte[] bytes, String document) {
    JsonNode node = parseNode(bytes, document);
    if (!node.isObject()) {
      throw new ImageException(
          ImageException.Reason.DAMAGED, document + " is no JSON object", null, null);
    }
    return new OciJson(document, "", node);
  }

  /** The objects of the array that is the whole document. */
  public static List<OciJson> parseArray(byte[] bytes, String document) {
    JsonNode node = parseNode(bytes, document);
    if (!node.isArray()) {
      throw new ImageException(
          ImageException.Reason.DAMAGED, document + " is no JSON array", null, null);
    }
    OciJson root = new OciJson(document, "", node);
    List<OciJson> objects = new ArrayList<>();
    for (JsonNode element : node) {
      objects.add(root.object(Integer.toString(objects.size()), element));
    }
    return objects;
  }

  /** A string as JSON has it. */
  public static String quote(String text) {
    return TextNode.valueOf(text).toString();
  }

  private static JsonNode parseNode(byte[] bytes, String document) {
    try {
      return MAPPER.readTree(bytes);
    } catch (JsonProcessingException e) {
      long offset = e.getLocation() == null ? 0 : e.getLocation().getByteOffset();
      throw new ImageException(
          ImageException.Reason.DAMAGED,
          document + " is no JSON: " + e.getOriginalMessage() + ", at byte " + offset,
          null,
          e);
    } catch (IOException e) {
      throw new ImageException(
          ImageException.Reason.DAMAGED, document + " is no JSON: " + e.getMessage(), null, e);
    }
  }

  public ImageException fault(String key, String what) {
    return fault(ImageException.Reason.DAMAGED, key, what);
  }

  /** As {@link #fault(String, String)}, for what is well-formed and yet not taken. */
  ImageException fault(ImageException.Reason reason, String key, String what) {
    return new ImageException(
        reason, document + ": " + pointer + "/" + key + ": " + what, null, null);
  }

  public boolean has(String key) {
    return find(key) != null;
  }

  private @Nullable JsonNode find(String key) {
    JsonNode value = node.get(key);
    return value == null || value.isNull() ? null : value;
  }

  public String string(String key) {
    JsonNode value = find(key);
    if (value == null) {
      throw fault(key, "it is missing");
    }
    return string(key, value);
  }

  /** Empty where it is absent. */
  public String optionalString(String key) {
    JsonNode value = find(key);
    return value == null ? "" : string(key, value);
  }

  private String string(String key, JsonNode value) {
    if (!value.isTextual()) {
      throw fault(key, "it is no string");
    }
    return value.textValue();
  }

  long integer(String key) {
    JsonNode value = find(key);
    if (value == null) {
      throw fault(key, "it is missing");
    }
    if (!value.isIntegralNumber() || !value.canConvertToLong()) {
      throw fault(key, "it is no integer of 64 bits");
    }
    return value.longValue();
  }

  public OciJson object(String key) {
    OciJson value = optionalObject(key);
    if (value == null) {
      throw fault(key, "it is missing");
    }
    return value;
  }

  @Nullable OciJson optionalObject(String key) {
    JsonNode value = find(key);
    return value == null ? null : object(key, value);
  }

  private OciJson object(String key, JsonNode value) {
    if (!value.isObject()) {
      throw fault(key, "it is no object");
    }
    return new OciJson(document, pointer + "/" + key, value);
  }

  /** Empty where it is absent. */
  public List<OciJson> objects(String key) {
    List<OciJson> objects = new ArrayList<>();
    for (JsonNode element : array(key)) {
      objects.add(object(key + "/" + objects.size(), element));
    }
    return objects;
  }

  /** Empty where it is absent. */
  public List<String> strings(String key) {
    List<String> strings = new ArrayList<>();
    for (JsonNode element : array(key)) {
      strings.add(string(key + "/" + strings.size(), element));
    }
    return strings;
  }

  private Iterable<JsonNode> array(String key) {
    JsonNode value = find(key);
    if (value == null) {
      return List.of();
    }
    if (!value.isArray()) {
      throw fault(key, "it is no array");
    }
    return value;
  }

  /** Empty where it is absent. */
  Map<String, String> stringMap(String key) {
    OciJson object = optionalObject(key);
    Map<String, String> map = new LinkedHashMap<>();
    if (object != null) {
      object.keys().forEach(name -> map.put(name, object.optionalString(name)));
    }
    return map;
  }

  /** The names of an object's members, as a set is written in Go; empty where it is absent. */
  Set<String> keys(String key) {
    OciJson object = optionalObject(key);
    return object == null ? Set.of() : object.keys();
  }

  private Set<String> keys() {
    Map<String, Boolean> names = new LinkedHashMap<>();
    node.fieldNames().forEachRemaining(name -> names.put(name, true));
    return names.keySet();
  }
}
