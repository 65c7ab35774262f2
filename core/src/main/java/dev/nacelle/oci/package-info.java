// SPDX-License-Identifier: Apache-2.0
/**
 * Bundles of the OCI runtime specification, and the operations on containers that it has.
 *
 * <pre>{@code
 * OciRuntime runtime = new OciRuntime(nacelle);
 * runtime.create("web-1", Path.of("/srv/bundle"));
 * GuestProcess process = runtime.start("web-1");
 * runtime.kill("web-1", Signal.KILL);
 * process.waitFor();
 * runtime.delete("web-1");
 * }</pre>
 *
 * <p>What of a {@code config.json} cannot be applied is never left out: it is an {@link
 * java.lang.IllegalArgumentException} that begins with the property's name.
 */
@NullMarked
package dev.nacelle.oci;

import org.jspecify.annotations.NullMarked;
