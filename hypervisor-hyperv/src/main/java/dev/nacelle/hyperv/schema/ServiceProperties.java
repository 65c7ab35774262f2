// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What the service answers to {@link PropertyQuery#BASIC}.
 *
 * @param properties one for each that was asked for
 */
public record ServiceProperties(@Nullable List<@Nullable BasicInformation> properties) {
  /** Which versions of the schema it takes. */
  public record BasicInformation(@Nullable List<@Nullable Version> supportedSchemaVersions) {}

  /**
   * The highest version of the schema that the service takes; empty where it names none.
   *
   * @throws DocumentException when that is no ServiceProperties document
   */
  public static Optional<Version> highestVersion(String document) {
    ServiceProperties answer = Json.read(document, ServiceProperties.class);
    return stream(answer.properties)
        .flatMap(basic -> stream(basic.supportedSchemaVersions))
        .max(Version::compareTo);
  }

  private static <T> Stream<T> stream(@Nullable List<@Nullable T> list) {
    return list == null ? Stream.of() : list.stream().flatMap(Stream::ofNullable);
  }
}
