#include "core/text/chat_detection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "core/text/chat_fingerprints.h"

namespace quire {
namespace {

// The least that is recognised: a family's phrases, each an output of its own.
std::string MinimalTemplate(const ChatFingerprint& print) {
  std::vector<std::string> phrases(print.required.begin(), print.required.end());
  return absl::StrJoin(phrases, " }}{{ ");
}

std::string Refusal(const ChatMetadata& metadata) {
  const absl::Status status = DetectChatFamily(metadata).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  return std::string(status.message());
}

void ExpectContains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
}

TEST(ChatDetectionTest, EachFamilyIsFoundByItsOwnPhrasesAlone) {
  for (const ChatFingerprint& print : ChatFingerprints()) {
    SCOPED_TRACE(ChatFamilyName(print.family));
    const auto family = DetectChatFamily({MinimalTemplate(print), "", ""});
    ASSERT_TRUE(family.ok()) << family.status();
    EXPECT_EQ(*family, print.family);
  }
}

TEST(ChatDetectionTest, EveryFamilyHasAFingerprint) {
  for (ChatFamily family : AllChatFamilies()) {
    const auto prints = ChatFingerprints();
    EXPECT_EQ(std::count_if(prints.begin(), prints.end(),
                            [family](const auto& print) { return print.family == family; }),
              1)
        << ChatFamilyName(family);
  }
}

TEST(ChatDetectionTest, EachPhraseIsNeeded) {
  for (const ChatFingerprint& print : ChatFingerprints()) {
    for (std::string_view phrase : print.required) {
      const std::string source = MinimalTemplate(print);
      const auto family =
          DetectChatFamily({absl::StrReplaceAll(source, {{std::string(phrase), ""}}), "", ""});
      EXPECT_TRUE(!family.ok() || *family != print.family)
          << ChatFamilyName(print.family) << " without " << phrase;
    }
  }
}

TEST(ChatDetectionTest, QuotesAndEscapesMayBeSpelledEitherWay) {
  for (const ChatFingerprint& print : ChatFingerprints()) {
    const std::string source =
        absl::StrReplaceAll(MinimalTemplate(print), {{"'", "\""}, {"\n", "\\n"}});
    const auto family = DetectChatFamily({source, "", ""});
    ASSERT_TRUE(family.ok()) << family.status();
    EXPECT_EQ(*family, print.family);
  }
}

TEST(ChatDetectionTest, AControlStringOfNoFamilyIsRefused) {
  for (const ChatFingerprint& print : ChatFingerprints()) {
    for (const char* mark : {"<|vision_start|>", "[IMG]", "<unused99>", "<<BOT>>", "[/THINK]"}) {
      ExpectContains(Refusal({absl::StrCat(MinimalTemplate(print), "{{ '", mark, "' }}"), "", ""}),
                     "is not one that Quire knows");
    }
  }
}

TEST(ChatDetectionTest, AForbiddenPhraseIsRefusedOrTellsAnotherFamily) {
  for (const ChatFingerprint& print : ChatFingerprints()) {
    for (std::string_view phrase : print.forbidden) {
      const auto family = DetectChatFamily(
          {absl::StrCat(MinimalTemplate(print), " }}{{ ", std::string(phrase)), "", ""});
      EXPECT_TRUE(!family.ok() || *family != print.family)
          << ChatFamilyName(print.family) << " with " << phrase;
    }
  }
}

TEST(ChatDetectionTest, ComparisonsAndIndicesAreNotControlStrings) {
  const ChatFingerprint& print = ChatFingerprints().front();
  const std::string source =
      absl::StrCat(MinimalTemplate(print),
                   " }}{% if a < b and c > d %}{{ messages[0] }}{{ x[:-1] }}{% endif %}");
  EXPECT_TRUE(DetectChatFamily({source, "", ""}).ok());
}

TEST(ChatDetectionTest, ARefusalListsTheFamiliesAndTheWayOut) {
  for (const std::string& message : {Refusal({}), Refusal({"{{ messages }}", "", ""})}) {
    ExpectContains(message, ChatFamilyNames());
    ExpectContains(message, "send the prompt as text");
  }
  ExpectContains(Refusal({}), "no chat template");
}

TEST(ChatDetectionTest, TheModelsTokensMustBeThoseThatTheFamilyPrints) {
  for (const ChatFingerprint& print : ChatFingerprints()) {
    const std::string source = MinimalTemplate(print);
    const std::string bos(print.bos_token);
    const std::string eos(print.eos_token);
    EXPECT_TRUE(DetectChatFamily({source, bos, eos}).ok());
    EXPECT_EQ(DetectChatFamily({source, "<other>", eos}).ok(), bos.empty());
    EXPECT_EQ(DetectChatFamily({source, bos, "<other>"}).ok(), eos.empty());
  }
}

}  // namespace
}  // namespace quire
