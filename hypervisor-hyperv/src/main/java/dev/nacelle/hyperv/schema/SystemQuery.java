// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;

/**
 * Which machines are asked for.
 *
 * @param types of which kind
 */
public record SystemQuery(List<SystemType> types) {
  /** All machines: whose they are, {@link SystemProperties} tells. */
  public static final SystemQuery MACHINES = new SystemQuery(List.of(SystemType.VIRTUAL_MACHINE));

  /** What a compute system is. */
  public enum SystemType {
    @JsonProperty("VirtualMachine")
    VIRTUAL_MACHINE
  }

  /** As text. */
  public String toJson() {
    return Json.write(this);
  }
}
