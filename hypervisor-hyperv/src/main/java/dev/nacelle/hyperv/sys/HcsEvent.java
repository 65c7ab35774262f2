// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import org.jspecify.annotations.Nullable;

/**
 * Something that happened to a compute system.
 *
 * @param type what
 * @param document more of it in JSON, which may have come from the guest, at most {@value
 *     WideString#MAX_LENGTH} characters of it; null where there is none
 */
public record HcsEvent(Type type, @Nullable String document) {
  /** Those of HCS_EVENT_TYPE (computedefs.h) that concern a machine. */
  public enum Type {
    /** It has ended; the document is a SystemExitStatus. */
    SYSTEM_EXITED(1),
    /** The guest's kernel says that it crashes; the document is a CrashReport. */
    CRASH_INITIATED(2),
    /** And what its last words were; the document is a CrashReport. */
    CRASH_REPORT(3),
    /** The service is gone, and its machines with it. */
    SERVICE_DISCONNECT(0x0200_0000);

    private final int code;

    Type(int code) {
      this.code = code;
    }

    int code() {
      return code;
    }

    static @Nullable Type of(int code) {
      for (Type type : values()) {
        if (type.code == code) {
          return type;
        }
      }
      return null;
    }
  }

  /** Whether the machine runs no more. */
  public boolean isEnd() {
    return type == Type.SYSTEM_EXITED || type == Type.SERVICE_DISCONNECT;
  }
}
