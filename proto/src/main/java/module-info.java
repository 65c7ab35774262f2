// SPDX-License-Identifier: Apache-2.0

/** Messages and stubs of the contract between a host and its guest agent. */
module dev.nacelle.proto {
  requires transitive com.google.protobuf;
  requires transitive io.grpc;
  requires transitive io.grpc.stub;
  requires com.google.common;
  requires io.grpc.protobuf;

  exports dev.nacelle.proto.agent.v1;
}
