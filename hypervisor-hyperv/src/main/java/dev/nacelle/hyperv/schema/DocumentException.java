// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import org.jspecify.annotations.Nullable;

/** The service said something that is not understood, or that is beyond a bound. */
public final class DocumentException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  DocumentException(Class<?> type, @Nullable Throwable cause) {
    super("not a document of the type " + type.getSimpleName(), cause);
  }
}
