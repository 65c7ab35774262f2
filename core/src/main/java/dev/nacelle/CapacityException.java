// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A machine was not started, for what runs and starts leaves no room for it within {@link
 * Nacelle.Builder#maxSandboxes} or {@link Nacelle.Builder#maxGuestMemory}. Nothing of it was made.
 */
public class CapacityException extends NacelleException {
  private static final long serialVersionUID = 1L;

  /** What there is no room in. More may be added: a {@code switch} has a default. */
  public enum Limit {
    /** {@link Nacelle.Builder#maxSandboxes} */
    SANDBOXES,
    /** {@link Nacelle.Builder#maxGuestMemory} */
    GUEST_MEMORY
  }

  private final Limit limit;

  /**
   * @param limit what there is no room in
   * @param message the same for people
   * @param remedy what the caller can do, or null
   */
  public CapacityException(Limit limit, String message, @Nullable String remedy) {
    super(Stage.HOST, message, remedy, null);
    this.limit = Objects.requireNonNull(limit);
  }

  /** What there is no room in. */
  public Limit limit() {
    return limit;
  }

  /** True: there is room when another has ended. */
  @Override
  public boolean isTransient() {
    return true;
  }
}
