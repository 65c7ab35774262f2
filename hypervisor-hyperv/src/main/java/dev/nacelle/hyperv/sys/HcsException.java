// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import dev.nacelle.hyperv.schema.ResultError;
import org.jspecify.annotations.Nullable;

/** A call to the Host Compute Service failed. */
public final class HcsException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Where nothing better is known. */
  private static final String EVENT_LOG =
      "Look at what the event log says: Applications and Services Logs, Microsoft, Windows,"
          + " Hyper-V-Compute and Hyper-V-Worker.";

  private final int code;

  /**
   * @param call the function, with what it was about
   * @param code its HRESULT
   * @param document the service's ResultError; null where it gave none
   */
  HcsException(String call, int code, @Nullable String document) {
    super(message(call, code, document));
    this.code = code;
  }

  private static String message(String call, int code, @Nullable String document) {
    String details = document == null ? "" : ResultError.details(document);
    return call + ": " + HResult.describe(code) + (details.isEmpty() ? "" : ": " + details);
  }

  /** The HRESULT as it came. */
  public int code() {
    return code;
  }

  /** Which one that is; null where this library does not know it. */
  public @Nullable HResult result() {
    return HResult.of(code);
  }

  /** What a user can do, in full sentences. */
  public String remedy() {
    HResult result = result();
    String remedy = result == null ? null : result.remedy();
    return remedy == null ? EVENT_LOG : remedy;
  }
}
