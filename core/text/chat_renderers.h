#pragma once

#include <span>

#include "core/text/chat_template.h"
#include "core/text/chat_writer.h"

namespace quire {

// One function a template, or a group of templates with one structure. Each expects messages that
// RenderChat has checked against the family's rules and cannot fail.

using ChatMessages = std::span<const ChatMessage>;

// The system message in front, which some families print elsewhere, apart from the others.
struct SplitMessages {
  const ChatMessage* system = nullptr;  // null: none
  ChatMessages turns;
};
inline SplitMessages SplitSystem(ChatMessages messages) {
  if (messages.front().role != ChatRole::kSystem) return {nullptr, messages};
  return {&messages.front(), messages.subspan(1)};
}

void RenderChatMl(ChatFamily family, ChatMessages messages, const ChatOptions& options,
                  ChatWriter& writer);
void RenderGemma(ChatMessages messages, const ChatOptions& options, ChatWriter& writer);
void RenderLlama2(ChatMessages messages, const ChatOptions& options, ChatWriter& writer);
void RenderLlama3(ChatMessages messages, const ChatOptions& options, ChatWriter& writer);
void RenderLlama31(ChatMessages messages, const ChatOptions& options, ChatWriter& writer);
void RenderMistral(ChatFamily family, ChatMessages messages, ChatWriter& writer);
void RenderPhi3(ChatFamily family, ChatMessages messages, const ChatOptions& options,
                ChatWriter& writer);

}  // namespace quire
