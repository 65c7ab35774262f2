// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.machines;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.nacelle.hyperv.sys.HResult;

/** A request that the Host Compute Service would have refused. */
final class ServiceError extends Exception {
  private static final long serialVersionUID = 1L;

  private final HResult result;

  ServiceError(HResult result, String message) {
    super(message);
    this.result = result;
  }

  HResult result() {
    return result;
  }

  /** A document ResultError. */
  String document() {
    ObjectNode error = new ObjectMapper().createObjectNode();
    return error.put("Error", result.code()).put("ErrorMessage", getMessage()).toString();
  }
}
