// SPDX-License-Identifier: Apache-2.0

/** Nacelle's hypervisor on Windows: the Host Compute Service. */
module dev.nacelle.hyperv {
  requires com.fasterxml.jackson.annotation;
  requires com.fasterxml.jackson.core;
  requires com.fasterxml.jackson.databind;
  requires com.sun.jna;
  requires dev.nacelle;
  // Whose user this process is. Runtimes on other systems do without.
  requires static jdk.security.auth;
  requires static org.jspecify;

  opens dev.nacelle.hyperv.schema to
      com.fasterxml.jackson.databind;

  provides dev.nacelle.spi.HypervisorProvider with
      dev.nacelle.hyperv.HypervProvider;
}
