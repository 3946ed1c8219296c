#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/text/chat_family.h"

namespace quire {

// What a model's files say about its chat format. Empty: they do not say.
struct ChatMetadata {
  std::string chat_template;  // source of the Jinja template; searched, never executed
  std::string bos_token;
  std::string eos_token;
};

// Which family `metadata` describes, from the control strings and phrases in the template. Every
// control string in it must belong to the family, so that a template with additions of its own is
// refused and not taken for a relative. FailedPrecondition with the list of families where there
// is no template or none that is known, and where the model's begin or end token is not the one
// that the family prints. Pure function; time is linear in the template's length.
absl::StatusOr<ChatFamily> DetectChatFamily(const ChatMetadata& metadata);

}  // namespace quire
