// SPDX-License-Identifier: Apache-2.0
/** Tests of documents and disks. */
@NullMarked
package dev.nacelle.hyperv;

import org.jspecify.annotations.NullMarked;
