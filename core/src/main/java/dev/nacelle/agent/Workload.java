// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import com.google.protobuf.ByteString;
import dev.nacelle.proto.agent.v1.PrepareRequest;
import dev.nacelle.proto.agent.v1.RootFilesystem;
import dev.nacelle.proto.agent.v1.Sysctl;
import dev.nacelle.proto.agent.v1.WorkloadLimits;
import java.util.Map;

/**
 * What the agent prepares once, before the first process.
 *
 * @param diskSerial serial number of the disk that holds the root image
 * @param scratchSerial serial number of the disk that holds the writable layer; empty for one in
 *     memory
 * @param writableBytes limit of a writable layer in memory, in bytes; 0 for the agent's default
 * @param sharedMemoryBytes limit of /dev/shm, in bytes; 0 for the agent's default
 * @param hostname 1 to 64 bytes
 * @param pids largest number of processes and threads; 0 for the agent's default
 * @param sysctls values by name, with dots between the name's parts; set in this order
 */
public record Workload(
    String diskSerial,
    String scratchSerial,
    long writableBytes,
    long sharedMemoryBytes,
    String hostname,
    long pids,
    Map<String, String> sysctls) {

  PrepareRequest toRequest(long realtimeNanos, byte[] entropy) {
    return PrepareRequest.newBuilder()
        .setRoot(
            RootFilesystem.newBuilder()
                .setDiskSerial(diskSerial)
                .setScratchSerial(scratchSerial)
                .setWritableBytes(writableBytes))
        .setSharedMemoryBytes(sharedMemoryBytes)
        .setHostname(hostname)
        .setRealtimeNanos(realtimeNanos)
        .setEntropy(ByteString.copyFrom(entropy))
        .setLimits(WorkloadLimits.newBuilder().setPids(pids))
        .addAllSysctls(
            sysctls.entrySet().stream()
                .map(e -> Sysctl.newBuilder().setName(e.getKey()).setValue(e.getValue()).build())
                .toList())
        .build();
  }
}
