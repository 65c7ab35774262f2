// SPDX-License-Identifier: Apache-2.0
/**
 * Kernels, as users name them: references, and the lock file that says what they stand for.
 *
 * <pre>{@code
 * KernelRef.defaultKernel();         // the one that comes with this version of the library
 * KernelRef.parse("debian:6.12");    // the newest of a series; with @sha256:... pinned
 *
 * Nacelle.builder().kernelLock(Path.of("kernels.lock.json"), KernelLockMode.FROZEN);
 * }</pre>
 *
 * <p>A reference that cannot be parsed is an {@link java.lang.IllegalArgumentException}; a kernel
 * that cannot be had or used is a {@link dev.nacelle.KernelException} of the call that needs it.
 */
@NullMarked
package dev.nacelle.kernel;

import org.jspecify.annotations.NullMarked;
