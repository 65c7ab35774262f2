// SPDX-License-Identifier: Apache-2.0

@NullMarked
package dev.nacelle.isolation.results;

import org.jspecify.annotations.NullMarked;
