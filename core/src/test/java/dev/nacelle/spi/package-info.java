// SPDX-License-Identifier: Apache-2.0
/** What every hypervisor must do; each runs these tests with a kernel of its own. */
@NullMarked
package dev.nacelle.spi;

import org.jspecify.annotations.NullMarked;
