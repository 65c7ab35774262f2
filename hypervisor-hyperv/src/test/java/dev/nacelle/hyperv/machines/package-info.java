// SPDX-License-Identifier: Apache-2.0
/** What boots the machines of the stand-in for the Host Compute Service: a program of its own. */
package dev.nacelle.hyperv.machines;
