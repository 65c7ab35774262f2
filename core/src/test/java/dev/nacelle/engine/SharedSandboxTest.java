// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.Sandbox;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.TestInstance;

/** Tests that have one sandbox of a fake runtime for all of them. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
abstract class SharedSandboxTest {
  final FakeNacelle fake = new FakeNacelle();
  Sandbox sandbox;

  @SuppressWarnings("NullAway.Init") // before all tests
  SharedSandboxTest() {}

  @BeforeAll
  final void start() {
    sandbox = fake.start();
  }

  @AfterAll
  final void close() {
    fake.close();
  }
}
