// SPDX-License-Identifier: Apache-2.0
@NullMarked
package dev.nacelle.transfer;

import org.jspecify.annotations.NullMarked;
