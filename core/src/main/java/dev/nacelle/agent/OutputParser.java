// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.UnsafeByteOperations;
import dev.nacelle.proto.agent.v1.AgentGrpc;
import dev.nacelle.proto.agent.v1.RunProcessRequest;
import dev.nacelle.proto.agent.v1.RunProcessResponse;
import io.grpc.KnownLength;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;

/**
 * Reads messages of RunProcess, of which most is output, so that the output's bytes are those that
 * were read; gRPC's own way copies them once more, into memory of their own.
 */
final class OutputParser implements MethodDescriptor.Marshaller<RunProcessResponse> {
  /** The call, whose responses are read so. */
  static final MethodDescriptor<RunProcessRequest, RunProcessResponse> RUN_PROCESS =
      AgentGrpc.getRunProcessMethod().toBuilder().setResponseMarshaller(new OutputParser()).build();

  private static final MethodDescriptor.Marshaller<RunProcessResponse> USUAL =
      AgentGrpc.getRunProcessMethod().getResponseMarshaller();

  @Override
  public InputStream stream(RunProcessResponse value) {
    return USUAL.stream(value);
  }

  @Override
  public RunProcessResponse parse(InputStream stream) {
    if (!(stream instanceof KnownLength)) {
      return USUAL.parse(stream);
    }
    try {
      // The whole message is there, and gRPC has held its size against the limit.
      byte[] bytes = new byte[stream.available()];
      int count = stream.readNBytes(bytes, 0, bytes.length);
      if (count < bytes.length) {
        throw new EOFException();
      }
      CodedInputStream input = UnsafeByteOperations.unsafeWrap(bytes).newCodedInput();
      // Nobody else has the array, so nobody changes it.
      input.enableAliasing(true);
      RunProcessResponse response = RunProcessResponse.parser().parseFrom(input);
      input.checkLastTagWas(0);
      return response;
    } catch (InvalidProtocolBufferException e) {
      throw Status.INTERNAL
          .withDescription("Invalid protobuf byte sequence")
          .withCause(e)
          .asRuntimeException();
    } catch (IOException e) {
      throw new IllegalStateException(e); // of memory
    }
  }
}
