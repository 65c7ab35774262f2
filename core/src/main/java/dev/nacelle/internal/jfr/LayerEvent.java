// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.jfr;

import jdk.jfr.Category;
import jdk.jfr.DataAmount;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/**
 * A layer of an image is had, from a registry or from the cache, for Java Flight Recorder; see
 * {@link Recordings}.
 */
@Name("dev.nacelle.LayerFetch")
@Label("Layer Fetch")
@Description("A layer of an image is had, from a registry or from the cache")
@Category("Nacelle")
@StackTrace(false)
final class LayerEvent extends Event {
  @Label("Image")
  String image = "";

  @Label("Digest")
  String digest = "";

  @Label("Size")
  @DataAmount
  long size;

  @Label("Succeeded")
  boolean succeeded;
}
