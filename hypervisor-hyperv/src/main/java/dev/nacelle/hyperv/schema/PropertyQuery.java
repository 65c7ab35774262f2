// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;

/** What is asked of the service itself: type Service_PropertyQuery of the schema. */
public record PropertyQuery(List<PropertyType> propertyTypes) {
  /** Which versions of the schema the service takes: {@link ServiceProperties}. */
  public static final PropertyQuery BASIC = new PropertyQuery(List.of(PropertyType.BASIC));

  /** GetPropertyType. */
  public enum PropertyType {
    /** BasicInformation. */
    @JsonProperty("Basic")
    BASIC
  }

  /** As text. */
  public String toJson() {
    return Json.write(this);
  }
}
