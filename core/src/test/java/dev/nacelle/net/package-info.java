// SPDX-License-Identifier: Apache-2.0
@NullMarked
package dev.nacelle.net;

import org.jspecify.annotations.NullMarked;
