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
 * A filesystem is made of the layers of an image, for Java Flight Recorder; see {@link Recordings}.
 */
@Name("dev.nacelle.ImageBuild")
@Label("Image Build")
@Description("A filesystem is made of the layers of an image")
@Category("Nacelle")
@StackTrace(false)
final class ImageEvent extends Event {
  @Label("Chain ID")
  String chainId = "";

  @Label("Layers")
  int layers;

  @Label("Shared Layers")
  @Description("How many of them another image had already")
  int sharedLayers;

  @Label("Size")
  @DataAmount
  long size;

  @Label("Succeeded")
  boolean succeeded;
}
