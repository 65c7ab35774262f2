// SPDX-License-Identifier: Apache-2.0
/**
 * From a reference to an uncompressed vmlinux, the modules it lacks, and an initramfs, kept by
 * digest.
 */
@NullMarked
package dev.nacelle.kernel.store;

import org.jspecify.annotations.NullMarked;
