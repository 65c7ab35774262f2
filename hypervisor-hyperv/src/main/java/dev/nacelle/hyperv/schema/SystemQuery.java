// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;

/**
 * Which machines are asked for.
 *
 * @param owners whose
 * @param types of which kind
 */
public record SystemQuery(List<String> owners, List<SystemType> types) {
  /** What a compute system is. */
  public enum SystemType {
    @JsonProperty("VirtualMachine")
    VIRTUAL_MACHINE
  }

  /** The machines of an owner. */
  public static SystemQuery ofOwner(String owner) {
    return new SystemQuery(List.of(owner), List.of(SystemType.VIRTUAL_MACHINE));
  }

  /** As text. */
  public String toJson() {
    return Json.write(this);
  }
}
