// SPDX-License-Identifier: Apache-2.0
/**
 * Content between the host and the guest: of single files, of directories, and of tar archives.
 * What comes from the guest is hostile.
 */
@NullMarked
package dev.nacelle.transfer;

import org.jspecify.annotations.NullMarked;
