// SPDX-License-Identifier: Apache-2.0
/**
 * The documents of the Host Compute Service in use, as records: of each only the fields in use, by
 * the names of the published schema (HCS Schema Reference). Fields that are null are not written,
 * so that the service chooses.
 */
@NullMarked
package dev.nacelle.hyperv.schema;

import org.jspecify.annotations.NullMarked;
