// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.cpu;

/** Where CPUID puts its answer. */
enum Register {
  EAX,
  EBX,
  ECX,
  EDX
}
