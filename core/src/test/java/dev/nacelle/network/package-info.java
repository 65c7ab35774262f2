// SPDX-License-Identifier: Apache-2.0
@NullMarked
package dev.nacelle.network;

import org.jspecify.annotations.NullMarked;
