// SPDX-License-Identifier: Apache-2.0

/** Programs that a user would copy, in a module as a user's would be. */
module dev.nacelle.samples {
  requires dev.nacelle;
  requires java.net.http;
  requires jdk.httpserver;
}
