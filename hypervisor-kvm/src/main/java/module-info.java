// SPDX-License-Identifier: Apache-2.0

/** Nacelle's hypervisor on Linux KVM. */
module dev.nacelle.kvm {
  requires com.sun.jna;
  requires dev.nacelle;
  requires static org.jspecify;

  provides dev.nacelle.spi.HypervisorProvider with
      dev.nacelle.kvm.KvmHypervisorProvider;
}
