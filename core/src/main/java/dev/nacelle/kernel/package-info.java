// SPDX-License-Identifier: Apache-2.0
/** Kernels: from a reference to an uncompressed vmlinux, the modules it lacks, and an initramfs. */
@NullMarked
package dev.nacelle.kernel;

import org.jspecify.annotations.NullMarked;
