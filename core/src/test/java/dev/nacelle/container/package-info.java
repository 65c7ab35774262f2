// SPDX-License-Identifier: Apache-2.0
@NullMarked
package dev.nacelle.container;

import org.jspecify.annotations.NullMarked;
