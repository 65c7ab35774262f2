// SPDX-License-Identifier: Apache-2.0
@NullMarked
package dev.nacelle.oci;

import org.jspecify.annotations.NullMarked;
