// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.jfr;

import jdk.jfr.DataAmount;
import jdk.jfr.Description;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.Timespan;

/**
 * A connection or a UDP session of a sandbox's network was denied, failed or is over, for Java
 * Flight Recorder; see {@link Recordings}.
 */
@Name("dev.nacelle.NetworkFlow")
@Label("Sandbox Network Flow")
@Description("A connection or a UDP session of a sandbox's network was denied, failed or is over")
final class FlowEvent extends OfSandboxEvent {
  @Label("Transport")
  String transport = "";

  @Label("Direction")
  String direction = "";

  @Label("Remote Address")
  String remote = "";

  @Label("Remote Port")
  int port;

  @Label("Guest Port")
  @Description("The published port; 0 of what the sandbox began")
  int guestPort;

  @Label("Outcome")
  @Description("How it ended, or why it was denied")
  String outcome = "";

  @Label("Sent")
  @Description("What left the sandbox")
  @DataAmount
  long sent;

  @Label("Received")
  @Description("What reached the sandbox")
  @DataAmount
  long received;

  @Label("Lasted")
  @Description("Since it was connected")
  @Timespan
  long lasted;
}
