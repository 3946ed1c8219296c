#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "open_inference/open_inference_grpc.pb.h"
#include "quire/v1/inference.pb.h"
#include "server/output_chunk.h"

namespace quire::server {

// The Open Inference Protocol v2 (https://github.com/kserve/open-inference-protocol) in terms of
// quire.v1, which judges what comes out: this translates, and refuses what has no translation.
//
//   input                     datatype, shape             is
//   text_input                BYTES [1]                   the prompt, or
//   input_ids                 INT32, INT64, UINT32,       the prompt as token ids
//                             UINT64 [n]
//   sampling_parameters       BYTES [1]                   GenerateRequest's fields, as JSON
//   stream                    BOOL [1]                    a message for each piece of the answer
//   exclude_input_in_output   BOOL [1]                    without the prompt (the default)
//
// A parameter of the request is a field of GenerateRequest that is one number, boolean or string,
// by its name; `stop` is one string; `timeout`, in microseconds, ends the request as a deadline
// does.
//
//   output                    datatype, shape             is
//   text_output               BYTES [1]                   the piece's text
//   token_ids                 UINT32 [n]                  its ids
//   logprobs                  FP32 [n]                    theirs, where they were asked for
//   finish_reason             BYTES [1]                   on the last piece: stop, length, ...
//   num_input_tokens          UINT32 [1]                  on the last piece
//   num_output_tokens         UINT32 [1]                  on the last piece
//
// Tensors go out raw. The parameter triton_final_response is true on an answer's last piece.
struct InferCall {
  v1::GenerateRequest request;
  std::optional<bool> stream;
  std::optional<Duration> timeout;
};

// InvalidArgument names the tensor or parameter, what it is and what it must be; NotFound for a
// version that does not exist.
absl::StatusOr<InferCall> DecodeInfer(const inference::ModelInferRequest& message);

// OK for the only version and for none.
absl::Status CheckModelVersion(const std::string& version);

// Writes a piece of the answer, of the outputs that the request names, all where it names none.
void EncodeInfer(const OutputChunk& chunk, const inference::ModelInferRequest& request,
                 const std::string& model_name, inference::ModelInferResponse* message);

void EncodeModelMetadata(const std::string& model_name, inference::ModelMetadataResponse* message);

}  // namespace quire::server
