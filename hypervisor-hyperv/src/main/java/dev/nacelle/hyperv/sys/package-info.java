// SPDX-License-Identifier: Apache-2.0
/**
 * The functions of Windows in use, and what makes them safe to call from Java: the only place that
 * knows raw addresses. Nothing is loaded before the first call.
 *
 * <p>Direct mapping, on 64-bit Windows alone, where there is one calling convention. {@code
 * Pointer} stands for what is an address or an opaque handle, primitive types for what is passed by
 * value; neither {@code long} nor {@code wchar_t} of C, which are of other sizes elsewhere, so that
 * the same binding runs against a stand-in on Linux. Strings are UTF-16LE, put into memory here.
 * All of it is compared with Microsoft's metadata by a test.
 */
@NullMarked
package dev.nacelle.hyperv.sys;

import org.jspecify.annotations.NullMarked;
