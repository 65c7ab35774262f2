// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.jfr;

import jdk.jfr.Description;
import jdk.jfr.Label;
import jdk.jfr.Name;

/**
 * A layer of an image is had, from a registry or from the cache, for Java Flight Recorder; see
 * {@link Recordings}.
 */
@Name("dev.nacelle.LayerFetch")
@Label("Layer Fetch")
@Description("A layer of an image is had, from a registry or from the cache")
final class LayerEvent extends SizedEvent {
  @Label("Image")
  String image = "";

  @Label("Digest")
  String digest = "";
}
