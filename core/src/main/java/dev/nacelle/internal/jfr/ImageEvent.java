// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.jfr;

import jdk.jfr.Description;
import jdk.jfr.Label;
import jdk.jfr.Name;

/**
 * A filesystem is made of the layers of an image, for Java Flight Recorder; see {@link Recordings}.
 */
@Name("dev.nacelle.ImageBuild")
@Label("Image Build")
@Description("A filesystem is made of the layers of an image")
final class ImageEvent extends SizedEvent {
  @Label("Chain ID")
  String chainId = "";

  @Label("Layers")
  int layers;

  @Label("Shared Layers")
  @Description("How many of them another image had already")
  int sharedLayers;
}
