// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;

/**
 * Documents as text. Newer versions of the service say more than is known here, which is left out;
 * what they say can come from a guest, and so has bounds.
 */
final class Json {
  private static final int MAX_DEPTH = 32;
  private static final int MAX_LENGTH = 1 << 20;
  private static final int MAX_NUMBER = 32;

  private static final ObjectMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(MAX_DEPTH)
                          .maxStringLength(MAX_LENGTH)
                          .maxNumberLength(MAX_NUMBER)
                          .build())
                  .build())
          .propertyNamingStrategy(PropertyNamingStrategies.UPPER_CAMEL_CASE)
          .defaultPropertyInclusion(
              JsonInclude.Value.construct(JsonInclude.Include.NON_NULL, JsonInclude.Include.ALWAYS))
          .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(DeserializationFeature.READ_UNKNOWN_ENUM_VALUES_USING_DEFAULT_VALUE)
          .build();

  private Json() {}

  static String write(Object document) {
    try {
      return MAPPER.writeValueAsString(document);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a record that is no document: " + document.getClass(), e);
    }
  }

  /**
   * Reads a document.
   *
   * @throws DocumentException when it is none of that type, or beyond a bound
   */
  static <T> T read(String document, Class<T> type) {
    if (document.length() > MAX_LENGTH) {
      throw new DocumentException(type, null);
    }
    try {
      T read = MAPPER.readValue(document, type);
      if (read == null) {
        throw new DocumentException(type, null);
      }
      return read;
    } catch (JsonProcessingException e) {
      throw new DocumentException(type, e);
    }
  }
}
