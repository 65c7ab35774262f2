// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import com.fasterxml.jackson.annotation.JsonEnumDefaultValue;
import com.fasterxml.jackson.annotation.JsonProperty;
import org.jspecify.annotations.Nullable;

/**
 * How a machine ended.
 *
 * @param status an HRESULT
 * @param exitType in which way; null where the service does not say
 */
public record SystemExitStatus(int status, @Nullable NotificationType exitType) {
  /** The ways in which machines end. */
  public enum NotificationType {
    @JsonProperty("None")
    NONE,
    /** It powered itself off. */
    @JsonProperty("GracefulExit")
    GRACEFUL_EXIT,
    /** It was terminated. */
    @JsonProperty("ForcedExit")
    FORCED_EXIT,
    /** It crashed, or its worker process did. */
    @JsonProperty("UnexpectedExit")
    UNEXPECTED_EXIT,
    /** Or one that is not known here. */
    @JsonEnumDefaultValue
    @JsonProperty("Unknown")
    UNKNOWN
  }

  /**
   * Reads one.
   *
   * @throws DocumentException when that is no such document
   */
  public static SystemExitStatus parse(String document) {
    return Json.read(document, SystemExitStatus.class);
  }
}
