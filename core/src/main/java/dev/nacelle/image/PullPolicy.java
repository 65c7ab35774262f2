// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

/**
 * When a registry is asked for an image. Images of layouts and archives are where their references
 * say, whatever the policy; and what a digest names is never asked for twice.
 */
public enum PullPolicy {
  /** When it is not in the store: a tag means what it meant when it was first pulled. */
  MISSING,
  /** Each time for what a tag means; only what is not in the store is got. */
  ALWAYS,
  /** Never: an image that is not in the store is an error. */
  NEVER
}
