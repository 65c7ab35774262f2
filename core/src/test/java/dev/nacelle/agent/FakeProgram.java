// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

/** What stands for an executable in the fake guest. */
@FunctionalInterface
public interface FakeProgram {
  /**
   * Runs on a thread of its own, which is interrupted when the process is killed.
   *
   * @return the exit code
   * @throws io.grpc.StatusException to end the call with that, and not the process
   */
  int run(FakeProcess process) throws Exception;
}
