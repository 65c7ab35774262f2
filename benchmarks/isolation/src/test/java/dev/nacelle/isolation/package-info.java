// SPDX-License-Identifier: Apache-2.0

@NullMarked
package dev.nacelle.isolation;

import org.jspecify.annotations.NullMarked;
