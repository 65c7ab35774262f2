// SPDX-License-Identifier: Apache-2.0

@NullMarked
package dev.nacelle.isolation.example;

import org.jspecify.annotations.NullMarked;
