// SPDX-License-Identifier: Apache-2.0
/** What it takes from an image to a filesystem that a guest mounts. */
@NullMarked
package dev.nacelle.benchmarks.image;

import org.jspecify.annotations.NullMarked;
