// SPDX-License-Identifier: Apache-2.0
/** What a hypervisor implements and what core sees of it; found with java.util.ServiceLoader. */
@NullMarked
package dev.nacelle.spi;

import org.jspecify.annotations.NullMarked;
