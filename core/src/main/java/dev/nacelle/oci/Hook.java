// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.oci;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A hook of a bundle: "POSIX-platform Hooks" of config.md.
 *
 * @param path the file to execute, absolute
 * @param arguments at least one; the first is what the program is called
 * @param timeout after which it is ended, and has failed
 */
record Hook(
    String path,
    List<String> arguments,
    Map<String, String> environment,
    Optional<Duration> timeout) {

  /** When hooks run, in the order of a container's life, and where. */
  enum Kind {
    PRESTART("prestart", false),
    CREATE_RUNTIME("createRuntime", false),
    CREATE_CONTAINER("createContainer", true),
    START_CONTAINER("startContainer", true),
    POSTSTART("poststart", false),
    POSTSTOP("poststop", false);

    private final String property;
    private final boolean inContainer;

    Kind(String property, boolean inContainer) {
      this.property = property;
      this.inContainer = inContainer;
    }

    /** Its property of "hooks". */
    String property() {
      return property;
    }

    /** Whether it runs in the container's namespaces, and not in the runtime's. */
    boolean isInContainer() {
      return inContainer;
    }
  }
}
