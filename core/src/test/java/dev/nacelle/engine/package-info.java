// SPDX-License-Identifier: Apache-2.0
@NullMarked
package dev.nacelle.engine;

import org.jspecify.annotations.NullMarked;
