// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.network;

/**
 * Why something of a sandbox's network was refused. More may be added: a {@code switch} has a
 * default.
 */
public enum DenialReason {
  /** The address is closed to all: forbidden, metadata or the host's. */
  FLOOR,
  /** A deny rule is for it. */
  RULE,
  /** No rule allows it. */
  NO_RULE,
  /** A rule by name is for that port, but the sandbox was not told that address for such a name. */
  NOT_RESOLVED,
  /** The name has an address that is not public, and its rule does not say that it may. */
  REBINDING,
  /** The name in the TLS handshake is not one of the rule's for that address, or there is none. */
  SNI_MISMATCH,
  /** The TLS handshake hides its name, and the rule does not say that it may. */
  HIDDEN_NAME,
  /** An HTTP request's Host is not one of the rule's for that address, or there is none. */
  HOST_MISMATCH,
  /**
   * What was sent is not the protocol of the rule: no TLS, no HTTP/1.1, or one that is malformed.
   */
  WRONG_PROTOCOL,
  /** No name came within the time or the bytes that there are for it. */
  NO_NAME_IN_TIME,
  /**
   * It would leave past the policy's proxy, or through another than it has left through: see {@link
   * NetworkPolicy.Builder#upstreamProxy}.
   */
  PROXY,
  /** The policy does not let records of that type be asked for. */
  RECORD_TYPE,
  /** There is a limit, and it was reached. */
  LIMIT
}
