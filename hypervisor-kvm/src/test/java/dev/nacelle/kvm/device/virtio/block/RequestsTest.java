// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RequestsTest {
  @TempDir Path directory;

  private static Request sync(Requests requests) {
    Request request = requests.take();
    request.begin(0, 0, 0);
    request.syncAtEnd();
    assertTrue(request.proceed());
    return request;
  }

  @Test
  void theEngineIsToldWhetherARequestIsAlone() throws Exception {
    ScriptedEngine engine = new ScriptedEngine(Files.createFile(directory.resolve("image")));
    Requests requests = new Requests(engine);
    engine.hangs = true;
    Request first = sync(requests);
    Request second = sync(requests);
    assertFalse(requests.start(first));
    assertFalse(requests.start(second));
    engine.hangs = false;
    assertSame(first, requests.next());
    Request third = sync(requests);
    assertTrue(requests.start(third));
    assertSame(second, requests.next());
    assertTrue(requests.start(third));
    assertEquals(List.of(true, false, false, true), engine.alone);
    requests.close();
  }
}
