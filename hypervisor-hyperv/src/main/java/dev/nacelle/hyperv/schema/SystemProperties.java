// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import java.util.List;
import java.util.UUID;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What the service knows of a machine: type Properties of the schema.
 *
 * @param id its name
 * @param runtimeId what its sockets are bound to
 * @param owner whose it is
 */
public record SystemProperties(
    @Nullable String id, @Nullable UUID runtimeId, @Nullable String owner) {
  /**
   * Reads those of one machine.
   *
   * @throws DocumentException when that is no such document
   */
  public static SystemProperties parse(String document) {
    return Json.read(document, SystemProperties.class);
  }

  /**
   * Reads a list of them.
   *
   * @throws DocumentException when that is no such document
   */
  public static List<SystemProperties> parseList(String document) {
    return Stream.of(Json.read(document, SystemProperties[].class))
        .flatMap(Stream::ofNullable)
        .toList();
  }
}
