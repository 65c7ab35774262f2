// SPDX-License-Identifier: Apache-2.0
@NullMarked
package dev.nacelle.seccomp;

import org.jspecify.annotations.NullMarked;
