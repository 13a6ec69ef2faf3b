// SPDX-License-Identifier: Apache-2.0
#include "terminal/key_decoder.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace nibble {
namespace {

using Presses = std::vector<KeyPress>;

KeyPress typed(std::string text) { return {Key::text, std::move(text)}; }

TEST(KeyDecoder, CharactersMayComeInPieces) {
  KeyDecoder decoder;
  EXPECT_EQ(decoder.feed("a\xc3"), Presses{typed("a")});
  EXPECT_TRUE(decoder.waiting());
  EXPECT_EQ(decoder.feed("\xa4\xf0\x9f\x98"), Presses{typed("ä")});
  EXPECT_EQ(decoder.feed("\x80"), Presses{typed("😀")});
  EXPECT_FALSE(decoder.waiting());
}

TEST(KeyDecoder, BytesThatAreNoCharacterAreReplaced) {
  KeyDecoder decoder;
  EXPECT_EQ(decoder.feed("\xffz"), (Presses{typed("\xef\xbf\xbd"), typed("z")}));
  EXPECT_EQ(decoder.feed("\xc3z"), (Presses{typed("\xef\xbf\xbd"), typed("z")}));
}

TEST(KeyDecoder, KnowsTheKeysOfTerminals) {
  const std::pair<const char*, Key> known[] = {{"\r", Key::enter},
                                               {"\n", Key::new_line},
                                               {"\x1b\r", Key::new_line},
                                               {"\x1b[A", Key::up},
                                               {"\x1bOB", Key::down},
                                               {"\x1b[C", Key::right},
                                               {"\x1b[D", Key::left},
                                               {"\x1b[1;5C", Key::word_right},
                                               {"\x1b[1;3D", Key::word_left},
                                               {"\x1b[H", Key::home},
                                               {"\x1b[4~", Key::end},
                                               {"\x1b[3~", Key::delete_next},
                                               {"\x1b"
                                                "b",
                                                Key::word_left},
                                               {"\x1b"
                                                "f",
                                                Key::word_right},
                                               {"\x7f", Key::backspace},
                                               {"\x1b\x7f", Key::delete_word_left},
                                               {"\x03", Key::interrupt},
                                               {"\x04", Key::end_of_input},
                                               {"\x12", Key::search},
                                               {"\x07", Key::outside},
                                               {"\x1b[13;2u", Key::new_line}};
  for (const auto& [bytes, key] : known) {
    KeyDecoder decoder;
    const Presses presses = decoder.feed(bytes);
    ASSERT_EQ(presses.size(), 1U) << ::testing::PrintToString(bytes);
    EXPECT_EQ(presses[0].key, key) << ::testing::PrintToString(bytes);
  }
}

TEST(KeyDecoder, SequencesThatMeanNothingAreLeftOut) {
  KeyDecoder decoder;
  EXPECT_EQ(decoder.feed("\x1b[15~\x1b[99;7Zx"), Presses{typed("x")});
  EXPECT_EQ(decoder.feed("\x1b[" + std::string(100, '1') + "x").back(), typed("x"));  // none is that long
}

TEST(KeyDecoder, AnEscapeThatNothingFollowsIsAKey) {
  KeyDecoder decoder;
  EXPECT_TRUE(decoder.feed("\x1b").empty());
  EXPECT_TRUE(decoder.waiting());
  EXPECT_EQ(decoder.flush(), Presses{{Key::escape}});
  EXPECT_FALSE(decoder.waiting());
}

TEST(KeyDecoder, APasteIsOneTextHoweverItIsCut) {
  const std::string bytes = "\x1b[200~one\r\ntwo\x1b[31m\x03\tthree\r\x1b[201~\r";
  const Presses expected = {typed("one\ntwo[31m\tthree\n"), {Key::enter}};
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    KeyDecoder decoder;
    Presses presses = decoder.feed(bytes.substr(0, cut));
    EXPECT_EQ(decoder.waiting(), cut > 0 && cut + 1 < bytes.size()) << cut;
    for (KeyPress& press : decoder.feed(bytes.substr(cut))) presses.push_back(std::move(press));
    EXPECT_EQ(presses, expected) << cut;
  }
}

TEST(KeyDecoder, TakesWhateverComes) {
  Random random(1);
  KeyDecoder decoder;
  for (int i = 0; i < 2000; ++i) {
    std::string bytes;
    for (std::uint64_t n = random.next() % 9; n > 0; --n)
      bytes += random.next() % 4 == 0 ? '\x1b' : static_cast<char>(random.next() % 256);
    for (const KeyPress& press : decoder.feed(bytes)) EXPECT_TRUE(press.key == Key::text || press.text.empty());
    decoder.flush();
    if (i % 50 == 0) decoder.feed("\x1b[201~");  // out of a paste that began by chance
    EXPECT_LE(decoder.feed("").size(), 1U);
  }
}

}  // namespace
}  // namespace nibble
