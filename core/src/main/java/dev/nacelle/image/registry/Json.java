// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import org.jspecify.annotations.Nullable;

/** JSON that has secrets in it: nothing of the document gets into an exception. */
final class Json {
  private static final JsonMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  .disable(StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION)
                  .streamReadConstraints(
                      StreamReadConstraints.builder().maxNestingDepth(32).build())
                  .build())
          .build();

  private Json() {}

  /** Null when it is no JSON object. */
  static @Nullable JsonNode parse(byte[] bytes) {
    try {
      JsonNode node = MAPPER.readTree(bytes);
      return node.isObject() ? node : null;
    } catch (IOException e) {
      return null;
    }
  }

  /** Empty where there is no such string. */
  static String string(JsonNode object, String key) {
    return object.path(key).asText("");
  }
}
