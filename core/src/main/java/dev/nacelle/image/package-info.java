// SPDX-License-Identifier: Apache-2.0
/**
 * Images, as users name them: references, platforms, digests, and how registries are talked to.
 *
 * <pre>{@code
 * ImageRef.parse("ghcr.io/owner/app:1.2");          // in a registry; with @sha256:... pinned
 * ImageRef.ociLayout(Path.of("/srv/images/app"));   // on disk
 *
 * RegistryOptions options =
 *     RegistryOptions.builder()
 *         .credentials("ghcr.io", RegistryCredentials.password("user", token))
 *         .build();
 * }</pre>
 *
 * <p>A reference or a registry's name that cannot be parsed is an {@link
 * java.lang.IllegalArgumentException} that names the text and the place in it; an image that cannot
 * be had is a {@link dev.nacelle.ImageException} of the call that needs it.
 */
@NullMarked
package dev.nacelle.image;

import org.jspecify.annotations.NullMarked;
