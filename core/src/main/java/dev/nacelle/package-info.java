// SPDX-License-Identifier: Apache-2.0
/**
 * Public API: a runtime, what to run in it, and handles on what runs.
 *
 * <pre>{@code
 * SandboxSpec spec = SandboxSpec.builder().image("python:3.12-slim").build();
 * try (Nacelle nacelle = Nacelle.create();
 *     Sandbox sandbox = nacelle.start(spec)) {
 *   ExecResult result = sandbox.exec("python3", "-c", "print(6 * 7)").orThrow();
 *   System.out.print(result.stdout());
 * }
 * }</pre>
 *
 * <p>A {@link dev.nacelle.Nacelle} is made once for a service and shared by its threads. A {@link
 * dev.nacelle.SandboxSpec} says what a {@link dev.nacelle.Sandbox} consists of, a {@link
 * dev.nacelle.ProcessSpec} what runs in it; both are immutable and can be kept. {@link
 * dev.nacelle.Sandbox#exec(String...)} runs a command to its end, {@link dev.nacelle.Sandbox#start}
 * gives a {@link dev.nacelle.GuestProcess} to talk with. What is open is closed by
 * try-with-resources, and by closing what it belongs to.
 *
 * <p>What can go wrong is a {@link dev.nacelle.NacelleException}, with the stage in which it
 * happened and, where one is known, a remedy; but for streams, whose failures are the last of
 * these:
 *
 * <table>
 *   <caption>Exceptions</caption>
 *   <tr><th>Exception</th><th>When</th><th>What a caller can do</th></tr>
 *   <tr>
 *     <td>{@link dev.nacelle.HypervisorUnavailableException}</td>
 *     <td>this host cannot run virtual machines, or no Linux in them</td>
 *     <td>what {@link dev.nacelle.HypervisorUnavailableException#checks()} say</td>
 *   </tr>
 *   <tr>
 *     <td>{@link dev.nacelle.HypervisorException}</td>
 *     <td>no machine can be made as specified</td>
 *     <td>change the specification, or the host's limits</td>
 *   </tr>
 *   <tr>
 *     <td>{@link dev.nacelle.ImageException}</td>
 *     <td>the image cannot be had</td>
 *     <td>by {@link dev.nacelle.ImageException#reason()}; try again where {@link
 *         dev.nacelle.NacelleException#isTransient()}</td>
 *   </tr>
 *   <tr>
 *     <td>{@link dev.nacelle.KernelException}</td>
 *     <td>the kernel cannot be had, or cannot be used</td>
 *     <td>by {@link dev.nacelle.KernelException#reason()}, likewise</td>
 *   </tr>
 *   <tr>
 *     <td>{@link dev.nacelle.BootException}</td>
 *     <td>fetching or starting took too long, or the guest died before it was ready</td>
 *     <td>read {@link dev.nacelle.BootException#console()}; give it more time or memory</td>
 *   </tr>
 *   <tr>
 *     <td>{@link dev.nacelle.ProcessException}</td>
 *     <td>a process could not be started, or nothing is known of its end</td>
 *     <td>by {@link dev.nacelle.ProcessException#reason()}</td>
 *   </tr>
 *   <tr>
 *     <td>{@link dev.nacelle.SandboxEndedException}</td>
 *     <td>the sandbox has ended</td>
 *     <td>by the reason of {@link dev.nacelle.SandboxEndedException#exit()}; start another</td>
 *   </tr>
 *   <tr>
 *     <td>{@link dev.nacelle.InterruptedOperationException}</td>
 *     <td>the waiting thread was interrupted; its flag is set</td>
 *     <td>end what the thread was doing</td>
 *   </tr>
 *   <tr>
 *     <td>{@link dev.nacelle.GuestIOException}, an {@link java.io.IOException}</td>
 *     <td>a stream of a process, or a connection to one, broke off or could not be made</td>
 *     <td>what one does about a socket's; its sandbox may have ended</td>
 *   </tr>
 * </table>
 *
 * <p>Each can be constructed, for the tests of those who catch it. What a caller has said wrongly
 * is an {@link java.lang.IllegalArgumentException}, what it calls too late on a runtime an {@link
 * java.lang.IllegalStateException}.
 */
@NullMarked
package dev.nacelle;

import org.jspecify.annotations.NullMarked;
