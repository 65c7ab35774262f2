// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.ByteString;
import dev.nacelle.proto.agent.v1.Exited;
import dev.nacelle.proto.agent.v1.RunProcessResponse;
import dev.nacelle.proto.agent.v1.Started;
import io.grpc.KnownLength;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.ByteArrayInputStream;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class OutputParserTest {
  private static final class Message extends ByteArrayInputStream implements KnownLength {
    Message(byte[] bytes) {
      super(bytes);
    }
  }

  private static RunProcessResponse parse(byte[] bytes) {
    return OutputParser.RUN_PROCESS.parseResponse(new Message(bytes));
  }

  private static List<RunProcessResponse> responses() {
    byte[] output = new byte[62 * 1024];
    new Random(1).nextBytes(output);
    return List.of(
        RunProcessResponse.getDefaultInstance(),
        RunProcessResponse.newBuilder().setStarted(Started.newBuilder().setPid(7)).build(),
        RunProcessResponse.newBuilder().setStdout(ByteString.copyFromUtf8("x")).build(),
        RunProcessResponse.newBuilder().setStderr(ByteString.copyFrom(output)).build(),
        RunProcessResponse.newBuilder().setExited(Exited.newBuilder().setExitCode(3)).build());
  }

  @Test
  void readsWhatGrpcReads() {
    for (RunProcessResponse response : responses()) {
      assertEquals(response, parse(response.toByteArray()));
      assertEquals(
          response,
          OutputParser.RUN_PROCESS.parseResponse(
              OutputParser.RUN_PROCESS.streamResponse(response)));
    }
  }

  @Test
  void whatIsNoMessageFailsAsWithGrpc() {
    byte[] whole = responses().get(3).toByteArray();
    for (byte[] broken :
        List.of(
            java.util.Arrays.copyOf(whole, whole.length - 1),
            new byte[] {(byte) 0xff},
            new byte[] {0},
            new byte[] {4})) {
      StatusRuntimeException failure =
          assertThrows(StatusRuntimeException.class, () -> parse(broken));
      assertEquals(Status.Code.INTERNAL, failure.getStatus().getCode());
    }
  }
}
