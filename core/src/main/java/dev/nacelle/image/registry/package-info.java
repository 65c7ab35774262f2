// SPDX-License-Identifier: Apache-2.0
/**
 * Gets manifests and blobs from registries (the OCI distribution specification, and Docker's token
 * authentication), over a network and from servers that may do anything. Its own because no client
 * library goes on with a download that broke.
 */
@NullMarked
package dev.nacelle.image.registry;

import org.jspecify.annotations.NullMarked;
