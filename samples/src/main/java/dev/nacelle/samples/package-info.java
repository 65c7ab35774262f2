// SPDX-License-Identifier: Apache-2.0
/**
 * Programs that a user would copy. Each is one file, which needs nothing but Nacelle:
 *
 * <ul>
 *   <li>{@link dev.nacelle.samples.PythonUnderTwoKernels}: the smallest
 *   <li>{@link dev.nacelle.samples.KernelsSideBySide}: one program on four kernels, and a table
 *   <li>{@link dev.nacelle.samples.CodeRunner}: an HTTP handler that runs what is posted to it,
 *       with limits, and streams the output
 *   <li>{@link dev.nacelle.samples.PluginHost}: a warm sandbox for each tenant
 *   <li>{@link dev.nacelle.samples.CheckHost}: what this host can do
 * </ul>
 *
 * <p>What runs them by their names, and tells of errors in one line, is the rest.
 */
@NullMarked
package dev.nacelle.samples;

import org.jspecify.annotations.NullMarked;
