// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.jfr;

import jdk.jfr.Description;
import jdk.jfr.Label;
import jdk.jfr.Name;

/** A data disk is made of a directory, for Java Flight Recorder; see {@link Recordings}. */
@Name("dev.nacelle.DiskBuild")
@Label("Disk Build")
@Description("A data disk is made of a directory of the host, and has that much content")
final class DiskEvent extends SizedEvent {}
