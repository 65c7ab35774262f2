// SPDX-License-Identifier: Apache-2.0
/** Tests of the system calls, against this host's kernel. */
@NullMarked
package dev.nacelle.kvm.sys;

import org.jspecify.annotations.NullMarked;
